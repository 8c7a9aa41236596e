"""LeRobot's own `lerobot-train`, in the process that `waldo train` starts, with four things added.

* SIGINT or SIGTERM saves a checkpoint at the step reached and then stops (LeRobot would lose all since the last one);
  so does the end of the process that started this one, however it ends.
* `--waldo-memory`: batches come from memory (`memory_dataset`), for policies that see no images.
* `--waldo-store=...`: the data is a waldo dataset, read without an export (`store_training`).
* Values that never changed in the data are not divided by zero (`keep_std_away_from_zero`).

Everything else, the loop, the optimiser, the checkpoints, is LeRobot's; version 0.6.1 is pinned, a test trains with it.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import lerobot.scripts.lerobot_train as lerobot_train

MEMORY = "--waldo-memory"
STORE = "--waldo-store="
PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""
STOPPED = 130
"""Exit code after a stop that was asked for."""


class _Stop:
    """Whether a stop was asked for."""

    asked = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Remember the signal; a second one ends the process at once."""
        self.asked = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def stop_with_parent() -> None:
    """Have Linux send SIGTERM when the parent is gone; elsewhere a killed `waldo train` leaves this process running."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> None:
    """Train with the command line's options."""
    stop, lerobot = _Stop(), lerobot_train
    signal.signal(signal.SIGINT, stop.ask)
    signal.signal(signal.SIGTERM, stop.ask)
    stop_with_parent()
    memory = MEMORY in sys.argv
    store = next((a.removeprefix(STORE) for a in sys.argv if a.startswith(STORE)), None)
    sys.argv = ["lerobot-train", *(a for a in sys.argv[1:] if a != MEMORY and not a.startswith(STORE))]
    due, mark_last, make = (
        lerobot.should_save_checkpoint,
        lerobot.update_last_checkpoint,
        lerobot.make_train_eval_datasets,
    )

    if store is not None:
        from waldo.train.data.store_source import StoreSource
        from waldo.train.store_training import use_store

        make = use_store(lerobot, StoreSource.from_json(store))

    def due_or_stopping(step: int, save_freq: int, total_steps: int) -> bool:
        return stop.asked or due(step, save_freq, total_steps)

    def mark_last_and_stop(checkpoint_dir: Path) -> None:
        mark_last(checkpoint_dir)
        if stop.asked:
            raise SystemExit(STOPPED)

    def make_datasets(config: Any) -> Any:
        from waldo.train.data.in_memory_dataset import hold_in_memory, keep_std_away_from_zero

        datasets = make(config)
        keep_std_away_from_zero(datasets[0].meta.stats)
        if memory and store is None and not config.dataset.streaming:
            for dataset in filter(None, datasets):
                hold_in_memory(dataset)
        return datasets

    vars(lerobot).update(
        should_save_checkpoint=due_or_stopping,
        update_last_checkpoint=mark_last_and_stop,
        make_train_eval_datasets=make_datasets,
    )
    lerobot.main()


if __name__ == "__main__":
    main()
