"""Where text for people goes: results to standard output, progress and trouble to standard error."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


@cache
def out() -> Console:
    """Return the console of standard output."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise  # rich would end the process with 1, the code of a check that did not pass

    return Output(highlight=False, soft_wrap=True)


@cache
def err() -> Console:
    """Return the console of standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def progress() -> Progress:
    """Return a progress display for work of more than two seconds; use it as a context manager."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=err(),
    )


class StatusLine:
    """A line at the bottom of the terminal that is updated; text printed through `err()` appears above it."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(console=err(), refresh_per_second=1, transient=True) if err().is_terminal else None

    def show(self, text: str) -> None:
        """Update the line."""
        if self._live is None:
            return
        if not self._live.is_started:
            self._live.start()
        from rich.text import Text

        self._live.update(Text(text), refresh=True)

    def close(self) -> None:
        """Remove the line."""
        if self._live is not None:
            self._live.stop()
