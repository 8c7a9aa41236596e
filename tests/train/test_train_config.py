"""Options of lerobot-train for a dataset and a policy."""

import json
from pathlib import Path

import pytest

from waldo.errors import FileError, InvalidValueError, UnsupportedOptionError
from waldo.train.policies.names import OWN_PLUGIN, plugin_names, policy_names
from waldo.train.train_config import TrainConfig, plan_training


def info(folder: Path, *keys: str, version: str = "v3.0") -> Path:
    shapes = {"observation.state": [6], "observation.environment_state": [8], "action": [6]}
    features = {
        key: {"dtype": "float32" if key in shapes else "video", "shape": shapes.get(key, [120, 160, 3])} for key in keys
    }
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps({"codebase_version": version, "fps": 30, "features": features}))
    return folder


STATE, ENVIRONMENT, FRONT = "observation.state", "observation.environment_state", "observation.images.front"


def plan(folder: Path, **options: object):
    return plan_training(TrainConfig(dataset=folder, output=folder / "out", device="cpu", **options))


def test_without_cameras_a_small_act_reads_from_memory(tmp_path: Path) -> None:
    made = plan(info(tmp_path / "d", STATE, ENVIRONMENT, "action"))
    assert (made.memory, made.inputs, made.preset) == (True, "state", "small")
    assert (
        '--policy.input_features={"observation.state": {"type": "STATE", "shape": [6]}, '
        + ('"observation.environment_state": {"type": "ENV", "shape": [8]}}')
        in made.arguments
    )
    assert "--num_workers=0" in made.arguments
    assert '"ENV": "MEAN_STD"' in next(a for a in made.arguments if "normalization" in a)


def test_with_images_a_policy_receives_no_ground_truth(tmp_path: Path) -> None:
    made = plan(info(tmp_path / "d", STATE, ENVIRONMENT, FRONT, "action"), inputs="images")
    assert made.memory is False
    features = next(a for a in made.arguments if "input_features" in a)
    assert features.endswith('"observation.images.front": {"type": "VISUAL", "shape": [3, 120, 160]}}')
    assert "ENV" not in features


def test_cameras_of_other_datasets_have_other_keys(tmp_path: Path) -> None:
    folder = info(tmp_path / "d", STATE, "image", "observation.image", "action")
    path = folder / "meta/info.json"
    metadata = json.loads(path.read_text())
    metadata["features"]["image"] |= {"shape": [3, 96, 128], "names": ["channels", "height", "width"]}
    path.write_text(json.dumps(metadata))
    features = next(a for a in plan(folder).arguments if "input_features" in a)
    assert '"image": {"type": "VISUAL", "shape": [3, 96, 128]}' in features
    assert '"observation.image": {"type": "VISUAL", "shape": [3, 120, 160]}' in features


def test_the_user_s_options_override_the_preset(tmp_path: Path) -> None:
    folder = info(tmp_path / "d", STATE, ENVIRONMENT, "action")
    made = plan(folder, options=("--policy.dim_model=256", "--batch_size=8"))
    assert [a for a in made.arguments if "dim_model" in a or "batch_size" in a] == [
        "--policy.dim_model=256",
        "--batch_size=8",
    ]
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "config.json").write_text('{"type": "act"}')
    pretrained = plan(folder, options=(f"--policy.path={tmp_path / 'policy'}",))
    assert not any(a.startswith("--policy.type") for a in pretrained.arguments)


def test_other_policies_have_lerobot_s_own_defaults(tmp_path: Path) -> None:
    folder = info(tmp_path / "d", STATE, ENVIRONMENT, "action")
    assert plan(folder, policy="diffusion").preset == "lerobot"
    with pytest.raises(UnsupportedOptionError) as caught:
        plan(folder, policy="diffusion", preset="small")
    expected = "--preset small is not supported with the policy 'diffusion' (supported: act, keypoint_vla)"
    assert str(caught.value) == expected


def test_inputs_that_the_dataset_lacks_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError) as caught:
        plan(info(tmp_path / "a", STATE, ENVIRONMENT, "action"), inputs="images")
    assert str(caught.value) == "inputs is 'images', expected 'state': the dataset has no cameras"
    with pytest.raises(InvalidValueError) as caught:
        plan(info(tmp_path / "b", STATE, "action"))
    expected = "a camera or the environment state too, which ACT requires"
    assert str(caught.value) == f"inputs is 'observation.state', expected {expected}"
    old = info(tmp_path / "c", STATE, version="v2.1")
    with pytest.raises(FileError) as file_error:
        plan(old)
    expected = "is a LeRobot dataset v2.1, expected v3.0"
    assert str(file_error.value) == f"{old}: {expected}"


def test_policy_names_are_equal_to_lerobot_s() -> None:
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies import factory

    assert factory is not None  # the import registers every policy
    # Another test of this process may have registered waldo's plug-in.
    assert set(policy_names()) == set(PreTrainedConfig.get_known_choices()) - {*plugin_names(OWN_PLUGIN)}
