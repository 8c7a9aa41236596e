import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import numpy as np
import pytest

from waldo.robots.description import load_robot
from waldo.sim.tasks import load_task

EPISODES, FRAMES = 3, 40


@pytest.fixture(scope="session")
def lerobot_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small LeRobot v3.0 dataset with the keys and shapes that `waldo export` gives the task "lift"."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    joints, labels = list(load_robot("so101").joint_names), list(load_task("lift").labels)
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
def trained(lerobot_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
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
