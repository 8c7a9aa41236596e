"""`waldo train`: train a policy with LeRobot."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from waldo import console
from waldo.cli.support.bars import progress_bar
from waldo.train.data.store_source import StoreOptions

if TYPE_CHECKING:
    from waldo.train.train_config import TrainConfig
    from waldo.train.training import TrainResult


@dataclass(frozen=True, kw_only=True)
class Train(StoreOptions):
    """Train a LeRobot policy on a waldo or LeRobot dataset; options of lerobot-train may follow a lone --."""

    dataset: tyro.conf.Positional[str]
    """A waldo dataset, local or at `s3://bucket/name`, read without an export; or the folder of a LeRobot dataset."""
    options: tyro.conf.Positional[tuple[str, ...]] = ()
    """Options passed on to lerobot-train, such as: -- --policy.dim_model=256 --batch_size=32."""
    policy: str = "act"
    """LeRobot's name of the policy, or a pretrained one to continue from: a checkpoint folder or a name on the hub."""
    steps: int = 2000
    """Total number of optimizer steps."""
    output: Path | None = None
    """Folder for checkpoints, log and loss; default: runs/<dataset>-<policy>."""
    resume: bool = False
    """Continue from the last checkpoint in the output folder."""
    device: str = "auto"
    """cpu, cuda, mps, or auto: a GPU if there is one."""
    inputs: Literal["auto", "state", "images"] = "auto"
    """state: joints and environment_state, no images; images: joints and cameras."""
    preset: Literal["auto", "small", "lerobot"] = "auto"
    """small: an act or keypoint_vla for CPUs and small datasets; lerobot: LeRobot's own defaults."""
    save_every: int | None = None
    """Steps between checkpoints; default: a fifth of the run, at least 100."""
    threads: int | None = None
    """CPU threads; default: all cores, or two for the small preset without images, which does not use more."""
    seed: int = 1000
    """Seed of the weights and of the order of the data."""

    def run(self) -> int:
        """Train and return the exit code: 130 after an interruption that saved a checkpoint."""
        from waldo.datasets.storage.store_path import open_path
        from waldo.train.train_config import TrainConfig

        dataset = open_path(self.dataset)
        config = TrainConfig(
            dataset=dataset,
            output=self.output or Path("runs") / f"{dataset.resolve().name}-{Path(self.policy).name}",
            policy=self.policy,
            steps=self.steps,
            inputs=self.inputs,
            preset=self.preset,
            device=self.device,
            save_every=self.save_every,
            threads=self.threads,
            seed=self.seed,
            store=StoreOptions(**{one.name: getattr(self, one.name) for one in dataclasses.fields(StoreOptions)}),
            options=self.options,
        )
        result = train_with_bar(config, resume=self.resume)
        if not result.finished:
            console.err().print(
                f"stopped at step {result.step} and saved a checkpoint; to continue, add --resume to the command"
            )
            return 130
        console.out().print(f"trained to step {result.step}: {result.checkpoint}", markup=False)
        return 0


def train_with_bar(config: TrainConfig, *, resume: bool = False) -> TrainResult:
    """Train with a progress bar; if lerobot-train fails, print the end of its output before raising."""
    from waldo.train.training import TrainingError, train

    def announce(text: str) -> None:
        console.err().print(text, markup=False)

    try:
        with progress_bar("train") as advance:
            return train(config, resume=resume, advance=advance, announce=announce)
    except TrainingError as error:
        for line in error.tail:
            console.err().print(line, markup=False)
        raise
