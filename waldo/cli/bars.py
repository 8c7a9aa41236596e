"""Progress bars of the command line; library functions report progress through callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from waldo import console


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a progress bar and yield the callback that updates it: (steps done, steps in total, note)."""
    with console.progress() as bar:
        task = bar.add_task(description, total=None, note="")
        yield lambda done, total, note="": bar.update(task, completed=done, total=total, note=note)
