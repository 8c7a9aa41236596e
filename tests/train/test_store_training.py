"""Training on a waldo dataset without an export."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.trainings import TINY
from waldo.cli.main import main
from waldo.datasets.dataset import Dataset
from waldo.datasets.reading.advantage import AdvantageConfig
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.selection import Selection
from waldo.datasets.storage.store_path import ObjectPath
from waldo.datasets.storage.transfer import push
from waldo.errors import NoMatchError, UnsupportedOptionError
from waldo.robots.description import load_robot
from waldo.train.data.store_source import StoreOptions, StoreSource
from waldo.train.policies.contract import read_contract
from waldo.train.train_config import TrainConfig, plan_training
from waldo.train.training import last_checkpoint

pytestmark = pytest.mark.usefixtures("preloaded_lerobot")

FRONT, WRIST = "observation.images.front", "observation.images.wrist"


def losses(output: Path) -> list[float]:
    with (output / "loss.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def train_on_images(dataset: str, output: Path, options: tuple[str, ...]) -> Path:
    """Train two steps with one worker that loads data; return the output folder."""
    words = ["train", dataset, "--output", str(output), "--inputs", "images", "--threads", "1"]
    words += ["--steps", "2", "--memory-mb", "1", "--", *options, "--num_workers=1"]
    assert main(words) == 0
    return output


@pytest.fixture(scope="module")
def trained_on_images(store: Path, preloaded_lerobot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_on_images(str(store), tmp_path_factory.mktemp("images") / "run", TINY)


def test_act_trains_on_images_from_the_store(trained_on_images: Path) -> None:
    found = last_checkpoint(trained_on_images)
    assert found is not None
    assert found[1] == 2
    assert [loss > 0 for loss in losses(trained_on_images)] == [True] * 2
    features = json.loads((found[0] / "config.json").read_text())["input_features"]
    assert features[WRIST] == {"type": "VISUAL", "shape": [3, 48, 64]}


def test_a_checkpoint_is_evaluated_at_the_rate_of_its_rows(store: Path, tmp_path: Path) -> None:
    words = ["train", str(store), "--output", str(tmp_path / "run"), "--inputs", "state", "--threads", "1"]
    assert main([*words, "--fps", "15", "--steps", "1", "--", *TINY]) == 0
    found = last_checkpoint(tmp_path / "run")
    assert found is not None
    contract = read_contract(found[0])
    assert (contract.fps, contract.joints, contract.state) == (15.0, load_robot("so101").joint_names, contract.joints)
    assert (contract.dataset, contract.episodes) == ("lift", 3)
    assert contract.instructions == ("lift the red cube", "put it down")


def test_the_advantage_is_part_of_the_instructions_and_of_the_contract(store: Path, tmp_path: Path) -> None:
    words = ["train", str(store), "--output", str(tmp_path / "run"), "--inputs", "state", "--threads", "1"]
    assert main([*words, "--advantage", "success", "--steps", "1", "--", *TINY]) == 0
    found = last_checkpoint(tmp_path / "run")
    assert found is not None
    contract = read_contract(found[0])
    assert contract.advantage is True
    assert contract.instructions == ("lift the red cube", "put it down")


def test_it_trains_from_an_object_store(
    store: Path, trained_on_images: Path, bucket: ObjectPath, tmp_path: Path
) -> None:
    dataset = Dataset.open(store)
    push(dataset, bucket / "store", dataset.indices)
    output = train_on_images(str(bucket / "store"), tmp_path / "run", TINY)
    assert losses(output) == losses(trained_on_images)


def test_a_block_shuffle_resumes_and_prefetches(store: Path) -> None:
    from functools import partial

    from waldo.train.store_training import StoreSampler, store_order

    windows = StoreSource(path=store, options=StoreOptions()).windows(0)
    prefetched: list[int] = []
    starts, stops = [span.first for span in windows.spans], [span.stop for span in windows.spans]
    order = partial(store_order, windows=windows, batch=4, readers=1, cache_bytes=10**5)

    def sampler(prefetch: Callable[[list[int]], None] | None = None) -> StoreSampler:
        return StoreSampler(starts, stops, shuffle=True, seed=3, drop_n_last_frames=2, order=order, prefetch=prefetch)

    whole = list(sampler(prefetched.extend))
    assert sorted(whole) == [row for a, b in zip(starts, stops, strict=True) for row in range(a, b - 2)]
    assert prefetched == whole[8:]
    resumed = sampler()
    resumed.load_state_dict({"epoch": 0, "start_index": 20})
    assert list(resumed) == whole[20:]
    assert list(resumed) != whole


def test_the_store_and_its_export_train_the_same_policy(
    store: Path, exported: Path, tmp_path: Path, tiny_options: tuple[str, ...]
) -> None:
    """With LeRobot's own order and without images every value is equal, and so are the weights."""
    weights: list[dict[str, torch.Tensor]] = []
    for name, data in (("store", store), ("export", exported)):
        from safetensors.torch import load_file

        words = ["--inputs", "state", "--steps", "3", "--threads", "1", "--output", str(tmp_path / name)]
        assert main(["train", str(data), *words, "--", *tiny_options]) == 0
        found = last_checkpoint(tmp_path / name)
        assert found is not None
        weights.append(load_file(found[0] / "model.safetensors"))
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_the_selection_and_the_row_options_reach_the_training_process(store: Path, tmp_path: Path) -> None:
    rows, selection = RowConfig(cameras=("wrist",), action="command"), Selection(episodes="0,2", task=("lift*",))
    labels = AdvantageConfig(advantage=("success",), advantage_share=0.3)
    options = StoreOptions(rows=rows, selection=selection, labels=labels)
    made = plan_training(TrainConfig(dataset=store, output=tmp_path / "o", inputs="images", store=options))
    assert made.store is not None
    source = StoreSource.from_json(made.store)
    assert (source.options, source.images, made.memory) == (options, True, False)
    assert FRONT not in source.features()
    assert source.windows(0).shapes == {WRIST: (48, 64)}
    assert len(source.windows(0).spans) == 2
    state = plan_training(TrainConfig(dataset=store, output=tmp_path / "o", inputs="state"))
    assert state.store is not None
    assert not StoreSource.from_json(state.store).windows(0).cameras


def test_options_and_datasets_that_cannot_be_used_are_rejected(
    store: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnsupportedOptionError) as caught:
        TrainConfig(dataset=exported, output=tmp_path, store=StoreOptions(rows=RowConfig(fps=10), shuffle="full"))
    assert str(caught.value) == "--fps is not supported with a LeRobot dataset; pass it to waldo export"
    empty = Dataset.create(tmp_path / "empty", robot="so101").path
    with pytest.raises(NoMatchError) as no_match:
        plan_training(TrainConfig(dataset=empty, output=tmp_path / "o"))
    assert str(no_match.value) == (
        "no episode matches the filters (0 episodes in total); "
        "to train on episodes of any outcome: --outcome success failure unknown"
    )
    assert main(["train", str(store), "--task", "nothing"]) == 2
    assert "no episode matches the filters (3 episodes in total)" in capsys.readouterr().err
    assert main(["train", str(store), "--cameras", "wirst"]) == 2
    assert "unknown camera 'wirst'; did you mean 'wrist'" in capsys.readouterr().err
    assert main(["train", str(store), "--memory-mb", "0"]) == 2
    assert "memory_mb is 0" in capsys.readouterr().err
