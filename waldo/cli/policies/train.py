"""`waldo train`: train a policy with LeRobot."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from waldo import console
from waldo.cli.support.bars import progress_bar
from waldo.errors import ConflictingOptionsError, InvalidValueError, UnsupportedOptionError
from waldo.train.data.store_source import StoreOptions
from waldo.train.tracking import Tracker

if TYPE_CHECKING:
    from waldo.datasets.selection import Selection
    from waldo.train.checkpoint_evaluation import CheckpointEvaluation
    from waldo.train.train_config import TrainConfig
    from waldo.train.training import TrainResult

DEFAULT_POLICY = "act"
"""Policy without --policy and --from."""


@dataclass(frozen=True, kw_only=True)
class Train(StoreOptions):
    """Train a LeRobot policy on a waldo or LeRobot dataset; options of lerobot-train may follow a lone --."""

    dataset: tyro.conf.Positional[str]
    """A waldo dataset, local or at `s3://bucket/name`, read without an export; or the folder of a LeRobot dataset."""
    options: tyro.conf.Positional[tuple[str, ...]] = ()
    """Options passed on to lerobot-train, such as: -- --policy.dim_model=256 --batch_size=32."""
    mix: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A further dataset as DATASET=WEIGHT, whose rows occur WEIGHT times in an epoch; repeatable."""
    weight: int = 1
    """Weight of the first dataset, with --mix."""
    from_pretrained: Annotated[str, tyro.conf.arg(name="from")] = ""
    """Checkpoint folder or hub name of a policy to continue from, instead of --policy."""
    launch: str = ""
    """Several processes: accelerate:4 or torchrun:4 on this machine; slurm:2x8 (nodes x GPUs) and ray:4 print the
    command that submits the training to a cluster."""
    policy: str = DEFAULT_POLICY
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
    evaluate_task: str = ""
    """Task on which each checkpoint is evaluated in simulation; checkpoints/best then links to the best one."""
    evaluate_episodes: int = 50
    """Number of episodes of each of these evaluations."""
    track: Tracker = "none"
    """Curves in TensorBoard (OUTPUT/tensorboard), Trackio or Weights & Biases, beside OUTPUT/loss.csv and loss.png."""
    license: str = ""
    """License of the weights for their model card, such as apache-2.0."""
    seed: int = 1000
    """Seed of the weights and of the order of the data."""

    def run(self) -> int:
        """Train and return the exit code: 130 after an interruption that saved a checkpoint."""
        from waldo.datasets.storage.store_path import open_path
        from waldo.train.launch import parse_launch
        from waldo.train.train_config import TrainConfig
        from waldo.train.training import submit

        if self.from_pretrained and self.policy != DEFAULT_POLICY:
            raise ConflictingOptionsError("--from", "--policy", "both name the policy to train")
        policy = self.from_pretrained or self.policy
        dataset = open_path(self.dataset)
        output = self.output or Path("runs") / f"{dataset.resolve().name}-{Path(policy).name}"
        store = StoreOptions(**{one.name: getattr(self, one.name) for one in dataclasses.fields(StoreOptions)})
        if self.mix:
            dataset, store = self._mixture(output.with_name(f"{output.name}-data"), store)
        launch = parse_launch(self.launch) if self.launch else None
        config = TrainConfig(
            dataset=dataset,
            output=output,
            policy=policy,
            steps=self.steps,
            inputs=self.inputs,
            preset=self.preset,
            device=self.device,
            save_every=self.save_every,
            threads=self.threads,
            seed=self.seed,
            store=store,
            launch=launch,
            evaluation=self._evaluation(),
            track=self.track,
            license=self.license,
            options=self.options,
        )
        if launch is not None and launch.kind in ("slurm", "ray"):
            if self.resume:
                raise UnsupportedOptionError("--resume", f"--launch {self.launch}", do="leave out --launch")
            console.out().print(submit(config, launch), markup=False)
            return 0
        result = train_with_bar(config, resume=self.resume)
        if not result.finished:
            console.err().print(
                f"stopped at step {result.step} and saved a checkpoint; to continue, add --resume to the command"
            )
            return 130
        console.out().print(f"trained to step {result.step}: {result.checkpoint}", markup=False)
        return 0

    def _mixture(self, folder: Path, store: StoreOptions) -> tuple[Path, StoreOptions]:
        """Return the folder of the mixture, and the options with its weights."""
        from waldo.train.data.mixture import Share, make_mixture, parse_share

        if self.selection.episodes:
            raise UnsupportedOptionError("--episodes", "--mix", do="use the other filters, or waldo filter")
        if self.cache is not None:
            raise UnsupportedOptionError("--cache", "--mix", do="leave it out")
        own = parse_share(f"{self.dataset}={self.weight}")
        shares: list[Share] = [own, *(parse_share(text) for text in self.mix)]
        repeats = make_mixture(folder, shares)
        return folder, dataclasses.replace(store, shared=dataclasses.replace(store.shared, repeats=repeats))

    def _evaluation(self) -> CheckpointEvaluation | None:
        """Return the evaluation of each checkpoint, if it is asked for."""
        from waldo.sim.tasks.task import load_task
        from waldo.train.checkpoint_evaluation import CheckpointEvaluation

        if not self.evaluate_task:
            return None
        if self.evaluate_episodes < 1:
            raise InvalidValueError("evaluate-episodes", self.evaluate_episodes, "a number from 1")
        load_task(self.evaluate_task)
        return CheckpointEvaluation(task=self.evaluate_task, episodes=self.evaluate_episodes)


def decode_frames(dataset: Path, folder: Path, selection: Selection | None = None) -> None:
    """Decode every frame once into a cache, with a progress bar, rather than each time that a batch contains it.

    Args:
        dataset: The dataset.
        folder: Folder of the cache.
        selection: Episodes to decode; None: all.
    """
    from waldo.datasets.dataset import Dataset
    from waldo.datasets.reading.cache_build import build_cache
    from waldo.datasets.reading.frame_cache import CacheConfig, FrameCache

    opened = Dataset.open(dataset)
    indices = opened.indices if selection is None else opened.select(selection)
    with progress_bar("frames") as advance:
        cache = FrameCache.create(folder, CacheConfig())
        openers = [partial(opened.episode, index) for index in indices]
        build_cache(cache, openers, advance=lambda done, total: advance(done, total, ""))


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
