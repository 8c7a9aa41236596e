"""The policy plug-in `keypoint_vla`: it reads the instruction, looks at images, and moves from where the robot is."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot_policy_keypoint_vla.configuration_keypoint_vla import KeypointVLAConfig
from lerobot_policy_keypoint_vla.modeling_keypoint_vla import SETTLED, KeypointVLAPolicy, steady
from lerobot_policy_keypoint_vla.text import TextEncoder, vocabulary_of, words_of

from tests.machine import GL
from waldo.graphics import NoGraphicsError
from waldo.sim.policy import observe
from waldo.sim.world import World
from waldo.train.policies.lerobot_policy import LeRobotPolicy, PolicyMismatchError

JOINTS, SIZE = 3, (24, 32)
CHUNK = {"chunk_size": 4, "n_action_steps": 2, "step_length": 0.0}


def config(**options):
    front = PolicyFeature(FeatureType.VISUAL, (3, *SIZE))
    return KeypointVLAConfig(
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, (JOINTS,)),
            "observation.images.front": front,
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (JOINTS,))},
        **{"device": "cpu", "image_size": SIZE, "hidden_dim": 64} | CHUNK | options,
    )


def meta(*instructions):
    return SimpleNamespace(tasks=pd.DataFrame({"task_index": range(len(instructions))}, index=list(instructions)))


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return torch.Generator().manual_seed(0)


def batch_of(generator, size, tasks=("lift it",)):
    """Return random observations and actions."""
    return {
        "observation.state": torch.randn(size, JOINTS, generator=generator),
        "observation.images.front": torch.rand(size, 3, *SIZE, generator=generator),
        "action": torch.randn(size, 4, JOINTS, generator=generator),
        "task": [tasks[place % len(tasks)] for place in range(size)],
    }


# text


def test_words_are_those_of_the_instruction_without_punctuation():
    assert words_of("Lift the RED cube, please!") == ["lift", "the", "red", "cube", "please"]
    assert words_of("hebe den grünen Würfel_2 auf") == ["hebe", "den", "grünen", "würfel", "2", "auf"]
    assert vocabulary_of(["lift it", "Put it down."]) == ["down", "it", "lift", "put"]


def test_an_instruction_depends_on_its_known_words_and_their_order():
    torch.manual_seed(0)
    text = TextEncoder(["put", "red", "in", "blue"], dim=16, max_words=4, word_dropout=0.5).eval()
    found = text(["put red in blue", "put blue in red", "put green in blue", "put pink in blue", "", "!?"])
    assert found.shape == (6, 16)
    assert torch.isfinite(found).all()
    assert not torch.allclose(found[0], found[1])
    assert torch.allclose(found[2], found[3])  # neither word is known
    assert torch.allclose(found[4], found[5])
    assert torch.allclose(text(["put red"])[0], text(["put red", "put red in blue"])[0], atol=1e-6)
    assert torch.allclose(text(["put red in blue and more"])[0], found[0])


def test_a_word_that_matters_keeps_its_weight_among_many_others():
    torch.manual_seed(0)
    text = TextEncoder(["red", "blue", "please"], dim=16, max_words=8, word_dropout=0.0).eval()
    with torch.no_grad():
        text.layers = torch.nn.Identity()
        text.layers.forward = lambda words, **_: words
        text.positions.zero_()
        text.words.weight[:] = torch.eye(5, 16)
        text.query[:] = 20 * (torch.eye(16)[2] + torch.eye(16)[3])  # it attends to the colors
    assert torch.allclose(text(["red"])[0], text(["please please please please red please"])[0], atol=1e-6)


def test_words_are_only_dropped_in_training():
    torch.manual_seed(0)
    text = TextEncoder(["a", "b"], dim=16, max_words=4, word_dropout=0.5)
    assert len({tuple(text(["a b"])[0].tolist()) for _ in range(20)}) == 4  # each word is known or unknown
    text.eval()
    assert len({tuple(text(["a b"])[0].tolist()) for _ in range(20)}) == 1


# configuration


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_action_steps": 5}, r"n_action_steps is 5, expected 1 to chunk_size \(4\)"),
        ({"n_action_steps": 0}, r"n_action_steps is 0, expected 1 to chunk_size \(4\)"),
        ({"n_obs_steps": 2}, "n_obs_steps is 2, expected 1: the policy has no history"),
        ({"step_length": -0.1}, r"^step_length is -0\.1, expected 0 or more"),
        ({"still_length": float("nan")}, r"^still_length is nan, expected 0 or more"),
        ({"step_length": 0.1, "lookahead": 1}, "lookahead is 1, expected 2 or more"),
        ({"channels": (8, 8)}, "channels has 2 values, expected 3"),
        ({"image_size": (8, 64)}, r"image_size is \(8, 64\), expected at least 16 x 16 pixels"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        config(**options)


def test_inputs_that_do_not_suit_the_policy_are_refused():
    blind = config()
    del blind.input_features["observation.images.front"]
    with pytest.raises(ValueError, match="requires at least one camera"):
        KeypointVLAPolicy(blind)
    other = config()
    other.output_features["action"] = PolicyFeature(FeatureType.ACTION, (7,))
    with pytest.raises(ValueError, match=r"found observation\.state of shape \(3,\) and action of shape \(7,\)"):
        KeypointVLAPolicy(other)


# actions


def test_actions_are_relative_to_the_state(generator):
    policy = KeypointVLAPolicy(config())
    batch = batch_of(generator, 2)
    moved = batch | {"observation.state": batch["observation.state"] + 0.7}
    policy.state_mean = torch.zeros(JOINTS)
    policy.state_std = torch.full((JOINTS,), 1e9)  # the network itself does not see the state
    difference = policy.predict_action_chunk(moved) - policy.predict_action_chunk(batch)
    torch.testing.assert_close(difference, torch.full((2, 4, JOINTS), 0.7))


def test_relative_actions_are_normalized_by_the_first_batches(generator):
    policy = KeypointVLAPolicy(config()).train()
    batches = [batch_of(generator, 8) for _ in range(SETTLED + 5)]
    for batch in batches:
        policy._measure(batch["action"] - batch["observation.state"][:, None])
    values = torch.cat([batch["action"] - batch["observation.state"][:, None] for batch in batches[:SETTLED]])
    mean, std = policy._relative_scale()
    torch.testing.assert_close(mean, values.mean((0, 1)))
    torch.testing.assert_close(std, values.std((0, 1), correction=0))
    policy.eval()
    before = policy.relative_sum.clone()
    policy(batches[0])
    torch.testing.assert_close(policy.relative_sum, before)


def test_a_chunk_follows_the_path_at_a_steady_speed_and_leaves_pauses_out():
    times = [0.0, 0.0, 0.1, 0.3, 0.3, 0.3, 0.34, 0.9, 1.1, 1.1]
    path = torch.stack([torch.tensor(times), 2 - torch.tensor(times)], 1)[None] / 2**0.5
    found = steady(path, points=9, step=0.2, still=0.05)[0]
    # The 0.04 between two pauses counts as standing still: the path continues after it.
    expected = [0.0, 0.2, 0.44, 0.64, 0.84, 1.04, 1.1, 1.1, 1.1]
    torch.testing.assert_close(found[:, 0] * 2**0.5, torch.tensor(expected))
    torch.testing.assert_close(found.sum(1), torch.full((9,), 2**0.5))


def test_a_path_that_stands_still_gives_one_point():
    path = torch.full((2, 5, JOINTS), 0.7)
    torch.testing.assert_close(steady(path, points=4, step=0.2, still=0.05), path[:, :4])


def test_the_dataset_is_asked_for_as_many_actions_as_a_chunk_is_made_from(generator):
    assert config().action_delta_indices == [0, 1, 2, 3]
    options = config(step_length=0.25, lookahead=9)
    assert options.action_delta_indices == list(range(9))
    policy = KeypointVLAPolicy(options).train()
    batch = batch_of(generator, 2) | {"action": torch.randn(2, 9, JOINTS, generator=generator)}
    policy(batch)
    assert policy.predict_action_chunk(batch).shape == (2, 4, JOINTS)


def test_the_loss_of_each_sample_has_their_mean(generator):
    policy = KeypointVLAPolicy(config()).eval()
    batch = batch_of(generator, 4)
    mean, report = policy(batch)
    each, _ = policy(batch, reduction="none")
    assert each.shape == (4,)
    torch.testing.assert_close(each.mean(), mean)
    assert report == {"l1_loss": pytest.approx(mean.item())}


def test_the_policy_looks_when_its_actions_are_carried_out(generator):
    policy = KeypointVLAPolicy(config(), dataset_meta=meta("lift it"))
    first, second = batch_of(generator, 2), batch_of(generator, 2)
    chunk = policy.predict_action_chunk(first)
    torch.testing.assert_close(policy.select_action(first), chunk[:, 0])
    torch.testing.assert_close(policy.select_action(second), chunk[:, 1])
    later = policy.predict_action_chunk(second)
    torch.testing.assert_close(policy.select_action(second), later[:, 0])
    policy.reset()
    torch.testing.assert_close(policy.select_action(first), chunk[:, 0])


def test_images_are_scaled_and_only_changed_in_training(generator):
    policy = KeypointVLAPolicy(config(word_dropout=0.0, state_noise=0.0))
    batch = batch_of(generator, 2)
    policy.eval()
    torch.testing.assert_close(policy._predict(batch), policy._predict(batch))
    large = batch | {"observation.images.front": batch["observation.images.front"].repeat_interleave(3, 2)}
    assert policy._prepare(large["observation.images.front"]).shape == (2, 3, *SIZE)
    even = torch.full((2, 3, *SIZE), 0.75)
    torch.testing.assert_close(policy._prepare(even), torch.full((2, 3, *SIZE), 0.25))
    policy.train()
    assert not torch.allclose(policy._prepare(even), policy._prepare(even))  # brightness
    policy.config.brightness = 0.0
    image = batch["observation.images.front"]
    shifted = [policy._prepare(image) for _ in range(20)]
    assert any(not torch.allclose(one, shifted[0]) for one in shifted)
    policy.config.shift_px = 0
    torch.testing.assert_close(policy._prepare(image), image - 0.5)


def test_a_saved_policy_predicts_the_same(generator, tmp_path):
    stats = {"observation.state": {"mean": np.array([1.0, 2.0, 3.0]), "std": np.array([0.5, 0.0, 2.0])}}
    policy = KeypointVLAPolicy(config(), dataset_stats=stats, dataset_meta=meta("lift the red cube", "Lift it."))
    policy.train()
    policy(batch_of(generator, 8))
    policy.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["vocabulary"] == ["cube", "it", "lift", "red", "the"]
    again = KeypointVLAPolicy.from_pretrained(tmp_path)
    batch = batch_of(generator, 3, ("lift the red cube", "push it"))
    torch.testing.assert_close(again.predict_action_chunk(batch), policy.predict_action_chunk(batch))


def dots(generator, size):
    """Return images with a red and a blue dot, and actions that move the first joint to the one that is named."""
    batch = batch_of(generator, size, ("touch the red dot", "touch the blue dot"))
    images = torch.full((size, 3, *SIZE), 0.4)
    target = torch.zeros(size)
    for place, text in enumerate(batch["task"]):
        columns = torch.randperm(SIZE[1] - 3, generator=generator)[:2].tolist()
        for channel, column in zip((0, 2), columns, strict=True):
            row = int(torch.randint(0, SIZE[0] - 3, (1,), generator=generator))
            images[place, :, row : row + 3, column : column + 3] = 0.0
            images[place, channel, row : row + 3, column : column + 3] = 1.0
        target[place] = columns["blue" in text] / SIZE[1]
    action = batch["observation.state"][:, None].repeat(1, 4, 1)
    action[:, :, 0] += target[:, None]
    return batch | {"observation.images.front": images, "action": action}, target


def test_it_learns_to_act_on_what_the_instruction_names(generator):
    options = {"shift_px": 0, "channels": (16, 16, 16), "keypoints": 8, "text_dim": 32, "word_dropout": 0.0}
    policy = KeypointVLAPolicy(config(**options), dataset_meta=meta("touch the red dot", "touch the blue dot"))
    optimizer = torch.optim.AdamW(policy.parameters(), 2e-3)
    policy.train()
    for _ in range(250):
        loss, _ = policy(dots(generator, 32)[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    batch, target = dots(generator, 200)
    reached = policy.predict_action_chunk(batch)[:, 0, 0] - batch["observation.state"][:, 0]
    assert float((reached - target).abs().mean()) < 0.05
    other = batch | {"task": [batch["task"][place - 1] for place in range(200)]}
    moved = policy.predict_action_chunk(other)[:, 0, 0] - batch["observation.state"][:, 0]
    assert float((moved - target).abs().mean()) > 0.2  # it goes to the other dot


def test_the_name_is_that_of_the_distribution():
    project = (Path(__file__).parents[3] / "plugins/lerobot_policy_keypoint_vla/pyproject.toml").read_text()
    assert 'name = "lerobot_policy_keypoint_vla"' in project
    assert KeypointVLAPolicy.name == KeypointVLAPolicy.config_class(device="cpu").type == "keypoint_vla"


# in waldo's worlds


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A policy of the SO-101 that was trained on images of 64 x 48 pixels, but not for long."""
    from lerobot.policies.factory import make_pre_post_processors

    torch.manual_seed(0)
    folder, view = tmp_path_factory.mktemp("checkpoint"), PolicyFeature(FeatureType.VISUAL, (3, 48, 64))
    inputs = {"observation.images.front": view, "observation.images.wrist": view}
    options = KeypointVLAConfig(
        device="cpu",
        input_features={"observation.state": PolicyFeature(FeatureType.STATE, (6,)), **inputs},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (6,))},
        hidden_dim=32,
    )
    KeypointVLAPolicy(options, dataset_meta=meta("lift the red cube")).save_pretrained(folder)
    for steps in make_pre_post_processors(options):
        steps.save_pretrained(folder)
    return folder


def test_waldo_renders_what_the_policy_was_trained_on_when_it_looks(checkpoint, monkeypatch):
    world = World("pick", worlds=2, threads=1)
    try:
        world.render(0, "front", (64, 48))
    except NoGraphicsError:
        pytest.skip(GL)
    rendered = []
    render = World.render_cameras

    def counted(self, index, sizes):
        rendered.append((index, dict(sizes)))
        return render(self, index, sizes)

    monkeypatch.setattr(World, "render_cameras", counted)
    policy = LeRobotPolicy(checkpoint)
    policy.check(world)
    for _ in range(16):
        targets = policy.act(observe(world, policy.image_keys, policy.image_sizes))
    assert targets.shape == (2, 6)
    sizes = {"front": (64, 48), "wrist": (64, 48)}
    assert rendered == [(index, sizes) for _ in range(2) for index in range(2)]  # twice for 15 actions each
    world.close()


def test_images_of_another_aspect_ratio_do_not_match(checkpoint):
    world = World("pick", worlds=1, threads=1)
    front, wrist = world.robot.cameras
    world.robot = replace(world.robot, cameras=(replace(front, width=128), wrist))
    with pytest.raises(PolicyMismatchError, match=r"observation\.images\.front of shape \(3, 48, 64\), the world"):
        LeRobotPolicy(checkpoint).check(world)
