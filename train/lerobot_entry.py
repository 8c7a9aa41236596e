"""LeRobot's own `lerobot-train`, in the process that `waldo train` starts, with nine additions.

* SIGINT or SIGTERM saves a checkpoint at the current step and then stops (LeRobot alone would lose the steps since the
  last checkpoint). The same happens when the parent process ends.
* `--waldo-memory`: batches are read from memory (`in_memory_dataset`), for policies without images.
* `--waldo-store=...`: the data is a waldo dataset, read without an export (`store_training`).
* A checkpoint contains what the policy was trained for (`contract`): rate, joints, cameras, instructions.
* A checkpoint has a model card; with `--waldo-evaluate=...` it is evaluated in simulation (`checkpoint_evaluation`).
* `--waldo-track=...`: the curves are shown by TensorBoard or Trackio (`tracking`).
* Values that are constant in the data do not cause a division by zero (`raise_std`).
* A tokenizer that would have to be downloaded is missed at once, not after minutes in which the policy is built.
* A loss that is not a finite number ends the training at once, before a checkpoint of such weights is saved.

The training loop, the optimizer and the checkpoints are LeRobot's; version 0.6.1 is pinned, and a test trains with it.
"""

from __future__ import annotations

import json
import math
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, cast

from waldo.process import stop_with_parent
from waldo.train.checkpoint_evaluation import CheckpointEvaluation
from waldo.train.large_import import large_import
from waldo.train.policies.contract import Contract, contract_of, write_contract
from waldo.train.policies.model_card import write_card
from waldo.train.tracking import LOGGERS, Logger, TensorBoardLogger, TrackioLogger

MEMORY = "--waldo-memory"
STORE = "--waldo-store="
EVALUATE = "--waldo-evaluate="
LICENSE = "--waldo-license="
TRACK = "--waldo-track="
INTERRUPTED = 130
"""Exit code after an interruption that saved a checkpoint."""
DIVERGED = 64
"""Exit code after a loss that is not finite."""


class _Stop:
    """Handler of SIGINT and SIGTERM."""

    requested = False

    def request(self, number: int, frame: FrameType | None) -> None:
        """Record the signal; a second one ends the process at once."""
        self.requested = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def require_tokenizers(make_processors: Any, config: Any, stats: Any) -> None:
    """Build the processors of a policy that starts from scratch, which LeRobot does after building the policy.

    Raises:
        OSError: If a file of the hub is neither in the cache nor can be downloaded.
    """
    if config.resume or config.is_reward_model_training or config.policy.pretrained_path:
        return
    try:
        make_processors(policy_cfg=config.policy, dataset_stats=stats)
    except OSError:
        raise
    except Exception:  # The policy completes its configuration; if this is an error, LeRobot raises it.
        return


def _take(prefix: str) -> str | None:
    """Remove an option from the command line and return its value; None if it is not given."""
    found = [argument for argument in sys.argv if argument.startswith(prefix)]
    sys.argv = [argument for argument in sys.argv if not argument.startswith(prefix)]
    return found[-1].removeprefix(prefix) if found else None


def main() -> None:
    """Train with the options of the command line."""
    # Not at the top: workers that load data import this module too, and would import all of LeRobot's policies.
    with large_import():
        import lerobot.scripts.lerobot_train as lerobot_train

    stop, lerobot = _Stop(), cast(Any, lerobot_train)
    signal.signal(signal.SIGINT, stop.request)
    signal.signal(signal.SIGTERM, stop.request)
    stop_with_parent()
    memory = MEMORY in sys.argv
    store, task, license, track = _take(STORE), _take(EVALUATE), _take(LICENSE), _take(TRACK)
    evaluation = None if task is None else CheckpointEvaluation(**json.loads(task))
    sys.argv = ["lerobot-train", *(a for a in sys.argv[1:] if a != MEMORY)]
    is_due, update_last, make, update = (
        lerobot.should_save_checkpoint,
        lerobot.update_last_checkpoint,
        lerobot.make_train_eval_datasets,
        lerobot.update_policy,
    )

    if store is not None:
        from waldo.train.data.store_source import StoreSource
        from waldo.train.store_training import use_store

        make = use_store(lerobot, StoreSource.from_json(store))

    def is_due_or_stopping(step: int, save_freq: int, total_steps: int) -> bool:
        return stop.requested or is_due(step, save_freq, total_steps)

    contracts: list[Contract] = []
    loggers: list[Logger] = []
    make_own_logger = LOGGERS[track] if track is not None else lerobot.WandBLogger

    def make_logger(config: Any) -> Logger:
        loggers.append(make_own_logger(config))
        return loggers[-1]

    def update_last_and_stop(checkpoint_dir: Path) -> None:
        write_contract(checkpoint_dir / "pretrained_model", contracts[-1])
        write_card(checkpoint_dir / "pretrained_model", license=license or "")
        update_last(checkpoint_dir)
        if evaluation is not None and not stop.requested:
            step, found = evaluation.run(checkpoint_dir)
            for logger in loggers:
                logger.log_dict(found, step, mode="eval")
        if stop.requested:
            raise SystemExit(INTERRUPTED)

    def update_and_check(*arguments: Any, **options: Any) -> Any:
        metrics, output = update(*arguments, **options)
        if not math.isfinite(metrics.loss.val):
            sys.stdout.write(f"the loss is {metrics.loss.val}\n")
            raise SystemExit(DIVERGED)
        return metrics, output

    def make_datasets(config: Any) -> Any:
        from waldo.train.data.in_memory_dataset import load_into_memory, raise_std

        datasets = make(config)
        raise_std(datasets[0].meta.stats)
        require_tokenizers(lerobot.make_pre_post_processors, config, datasets[0].meta.stats)
        contracts.append(contract_of(datasets[0].meta))
        if memory and store is None and not config.dataset.streaming:
            for dataset in filter(None, datasets):
                load_into_memory(dataset)
        return datasets

    vars(lerobot).update(
        should_save_checkpoint=is_due_or_stopping,
        update_last_checkpoint=update_last_and_stop,
        make_train_eval_datasets=make_datasets,
        update_policy=update_and_check,
        WandBLogger=make_logger,
    )
    try:
        lerobot.main()
    finally:
        for logger in loggers:
            if isinstance(logger, TensorBoardLogger | TrackioLogger):
                logger.close()


if __name__ == "__main__":
    main()
