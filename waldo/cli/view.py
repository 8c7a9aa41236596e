"""`waldo view`: look at an episode, in Rerun or as a page that opens in any browser."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.markup import escape

from waldo import console
from waldo.cli.arguments import DatasetAddress
from waldo.errors import FileError, InvalidValueError, UsageError

if TYPE_CHECKING:
    from waldo.datasets.dataset import Dataset
    from waldo.datasets.episode import Episode


@dataclass(frozen=True, kw_only=True)
class View:
    """Look at an episode: cameras in step with joints, commands and heat; what was lost is marked.

    Opens Rerun's viewer unless told otherwise.
    """

    dataset: DatasetAddress
    """The dataset's folder, or an episode in it."""
    episode: Annotated[int | None, tyro.conf.Positional] = None
    """The episode's index; the last one if none is named."""
    html: Path | None = None
    """Write a page to this file instead: self-contained, opens in any browser, needs no network."""
    max_height: int = 0
    """Most pixels that a camera's picture is high in the page; larger ones are scaled down. 0: as they are."""
    save: Path | None = None
    """Write a Rerun recording (.rrd) to this file instead."""
    web: bool = False
    """Show Rerun's viewer in a browser, served on this machine only."""

    def __post_init__(self) -> None:
        """Refuse options that exclude each other and heights that no picture has."""
        if sum([self.html is not None, self.save is not None, self.web]) > 1:
            raise UsageError("view", "--html, --save and --web exclude each other")
        if self.max_height and self.max_height < 16:
            raise InvalidValueError("--max-height", self.max_height, "0, or 16 pixels or more")

    def run(self) -> int:
        """Show the episode, or write what shows it."""
        episode = open_episode(self.dataset, self.episode)
        if self.html is not None:
            return _page(episode, self.html, self.max_height)
        from waldo.datasets.view import rerun_view

        if self.save is not None:
            with console.progress() as progress:
                bar = progress.add_task("writing the recording", total=None, note="")
                rerun_view.save(episode, self.save, lambda n, of: progress.update(bar, completed=n, total=of))
            console.out().print(f"{escape(str(self.save))}: open it with: rerun {escape(str(self.save))}")
        elif self.web:
            rerun_view.serve(episode)
        elif not has_display():
            options = "write a page with --html FILE, a recording with --save FILE, or serve the viewer with --web"
            raise InvalidValueError("the display", "absent", "one to open Rerun's viewer on", options)
        else:
            rerun_view.spawn(episode)
        return 0


def open_episode(where: str, index: int | None) -> Episode:
    """Return an episode of a dataset, with its edits: the one of this index, else the last; or the one at `where`."""
    from waldo.datasets.dataset import NAME, Dataset
    from waldo.datasets.store_path import place

    path = place(where)
    match = NAME.fullmatch(path.name)
    if match and match[2] == "zarr" and not match[3] and index is None:
        return need_episode(Dataset.open(path.parent), int(match[1]))
    dataset = Dataset.open(path)
    if not dataset.indices:
        raise FileError(path, "has no finished episode", "record one, or run waldo recover")
    return need_episode(dataset, dataset.indices[-1] if index is None else index)


def need_episode(dataset: Dataset, index: int) -> Episode:
    """Return the episode with an index; one that is not there is refused."""
    if index not in dataset.indices:
        raise FileError(dataset.path, f"has no episode {index}", "waldo list shows those it has")
    return dataset.episodes.with_index(index)


def has_display() -> bool:
    """Whether a window can be opened here."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _page(episode: Episode, out: Path, max_height: int) -> int:
    """Write the page and say how large it is."""
    from waldo.cli.tables import size
    from waldo.datasets.view.page import PageConfig, write_page

    with console.progress() as progress:
        bar = progress.add_task("writing the page", total=None, note="")
        config = PageConfig(max_height=max_height)
        result = write_page(episode, out, config, lambda n, of: progress.update(bar, completed=n, total=of))
    console.out().print(f"{escape(str(result.path))}: {size(result.nbytes)}, opens in any browser")
    for note in result.notes:
        console.out().print(f"  {escape(note)}")
    if result.is_large:
        do = "--max-height 240 makes it smaller; --save writes a Rerun recording instead"
        console.err().print(f"[yellow]a browser takes its time to open {size(result.nbytes)}:[/yellow] {do}")
    return 0
