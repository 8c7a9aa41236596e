"""Progress bars of the command line; library functions report progress through callbacks."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from waldo import console

if TYPE_CHECKING:
    from rich.progress import TaskID


@contextmanager
def progress_bar(description: str) -> Generator[Callable[[int, int, str], None]]:
    """Yield a callback (steps done, steps in total, note) that shows a progress bar from its first call on.

    An error before the work starts is therefore printed without a bar.
    """
    bar = console.progress()
    task: TaskID | None = None

    def advance(done: int, total: int, note: str) -> None:
        nonlocal task
        if task is None:
            bar.start()
            task = bar.add_task(description, total=total, note=note)
        bar.update(task, completed=done, total=total, note=note)

    try:
        yield advance
    finally:
        if task is not None:
            bar.stop()
