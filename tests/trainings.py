import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lerobot_server import Preloaded

from waldo.robots.description import load_robot
from waldo.sim.tasks.task import load_task

EPISODES, FRAMES = 3, 40


@pytest.fixture(scope="session")
def lerobot_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small LeRobot v3.0 dataset with the keys and shapes that `waldo export` gives the task "lift"."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    joints, labels = list(load_robot("so101").joint_names), list(load_task("lift").environment_names)
    vector = {"dtype": "float32", "shape": (len(joints),), "names": joints}
    root = tmp_path_factory.mktemp("data") / "lift"
    dataset = LeRobotDataset.create(
        "local/lift",
        fps=30,
        root=root,
        features={
            "observation.state": vector,
            "observation.environment_state": {"dtype": "float32", "shape": (len(labels),), "names": labels},
            "action": vector,
            "telemetry.winding": vector,
        },
        use_videos=False,
    )
    rng = np.random.default_rng(0)
    for _ in range(EPISODES):
        phase = rng.normal(size=len(joints))
        for k in range(FRAMES):
            pose = np.sin(k / 15 + phase).astype(np.float32)
            frame = {
                "observation.state": pose,
                "observation.environment_state": rng.normal(size=len(labels)).astype(np.float32),
                "action": pose,
                "telemetry.winding": pose,
                "task": "lift the red cube",
            }
            dataset.add_frame(frame)
        dataset.save_episode()
    dataset.finalize()
    return root


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small waldo dataset: two cameras, three episodes of 30, 30 and 15 rows, one frame dropped in the second."""
    from waldo.datasets.dataset import Dataset
    from waldo.datasets.streams import Field, ScalarStream, VideoStream

    joints, labels = load_robot("so101").joint_names, load_task("lift").environment_names
    position, size = Field("position", "rad", joints), {"width": 64, "height": 48, "rate_hz": 30.0}
    streams = (
        ScalarStream(name="joints/state", rate_hz=60.0, fields=(position, Field("velocity", "rad/s", joints))),
        ScalarStream(name="joints/command", rate_hz=60.0, fields=(position,)),
        ScalarStream(name="environment", rate_hz=60.0, fields=(Field("value", "m", tuple(labels)),)),
        ScalarStream(name="motors", rate_hz=10.0, fields=(Field("winding", "°C", joints),)),
        VideoStream(name="cameras/front", **size),
        VideoStream(name="cameras/wrist", **size),
    )
    root = tmp_path_factory.mktemp("store") / "lift"
    dataset = Dataset.create(root, robot="so101")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    with dataset.lock():
        for number, ticks in enumerate((60, 60, 30)):
            task = ("lift the red cube", "put it down")[number % 2]
            writer = dataset.begin(streams, {"task": task}, back_pressure="wait")
            for tick in range(ticks):
                at = 1_700_000_000_000_000_000 + round(tick * 1e9 / 60)
                kw = {"header_ns": at, "receipt_ns": at, "sequence": tick + 1}
                pose = np.sin(tick / 20 + np.arange(len(joints)) + number)
                writer.row("joints/state", values={"position": pose, "velocity": pose / 2}, **kw)
                writer.row("joints/command", values={"position": pose + 0.01}, **kw)
                writer.row("environment", values={"value": rng.normal(size=len(labels))}, **kw)
                if tick % 6 == 0:
                    writer.row("motors", values={"winding": pose + 40}, **(kw | {"sequence": tick // 6 + 1}))
                if tick % 2 == 0 and (number, tick) != (1, 24):
                    for camera in ("cameras/front", "cameras/wrist"):
                        shown = np.roll(image, tick + 3 * number, axis=camera == "cameras/wrist")
                        writer.frame(camera, image=shown, **(kw | {"sequence": tick // 2 + 1}))
            writer.save("success")
    return root


@pytest.fixture(scope="session")
def exported(store: Path) -> Path:
    """The same as a LeRobot dataset, by `waldo export`."""
    from waldo.cli.main import main

    out = store.parent / "exported"
    assert main(["export", str(store), str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def preloaded_lerobot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    """Fork trainings from a process that has imported LeRobot, which takes longer than these trainings."""
    with Preloaded(tmp_path_factory.mktemp("hub")) as preloaded, pytest.MonkeyPatch.context() as patch:
        patch.setattr("waldo.train.training.subprocess", preloaded.subprocess)
        yield preloaded


@pytest.fixture(scope="session")
def trained(lerobot_dataset: Path, preloaded_lerobot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a very short training of a very small ACT, gone on with after its first half."""
    from waldo.train.train_config import TrainConfig
    from waldo.train.training import train

    output = tmp_path_factory.mktemp("runs") / "lift-act"
    for steps in (3, 6):
        config = TrainConfig(dataset=lerobot_dataset, output=output, steps=steps, save_every=3, threads=1, options=TINY)
        result = train(config, resume=steps > 3)
        assert (result.step, result.finished) == (steps, True)
    return output


TINY = ("--policy.dim_model=16", "--policy.n_heads=2", "--policy.dim_feedforward=16", "--batch_size=4")


@pytest.fixture
def tiny_options() -> tuple[str, ...]:
    return TINY
