"""`waldo view`: show an episode in Rerun or as a page for any browser."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.markup import escape

from waldo import console
from waldo.cli.support.arguments import DatasetAddress
from waldo.errors import ConflictingOptionsError, FileError, InvalidValueError, WaldoError
from waldo.files import format_bytes

if TYPE_CHECKING:
    from waldo.datasets.dataset import Dataset
    from waldo.datasets.episode import Episode


class NoDisplayError(WaldoError):
    """There is no display to open Rerun's viewer on."""

    def __init__(self) -> None:
        """Build the message."""
        options = "write a page with --html FILE, a recording with --save FILE, or serve the viewer with --web"
        super().__init__(f"no display to open Rerun's viewer on; {options}")


@dataclass(frozen=True, kw_only=True)
class View:
    """Show an episode: cameras synchronized with joints, commands and motor heat; losses are marked.

    Opens Rerun's viewer by default.
    """

    dataset: DatasetAddress
    """Folder of the dataset, or of an episode in it."""
    episode: Annotated[int | None, tyro.conf.Positional] = None
    """Index of the episode; the last one by default."""
    html: Path | None = None
    """Write a self-contained page to this file instead, which opens in any browser without a network."""
    max_height: int = 0
    """Largest height of a camera's image in the page; larger ones are scaled down. 0: as recorded [px]."""
    save: Path | None = None
    """Write a Rerun recording (.rrd) to this file instead."""
    web: bool = False
    """Serve Rerun's viewer to a browser on this machine; from another one, use an SSH tunnel."""

    def __post_init__(self) -> None:
        """Validate the options."""
        chosen = {"--html": self.html is not None, "--save": self.save is not None, "--web": self.web}
        given = [option for option, is_given in chosen.items() if is_given]
        if len(given) > 1:
            raise ConflictingOptionsError(given[0], given[1], "choose one of --html, --save and --web")
        if self.max_height and self.max_height < 16:
            raise InvalidValueError("--max-height", self.max_height, "0, or 16 pixels or more")

    def run(self) -> int:
        """Show the episode, or write the page or recording."""
        episode = open_episode(self.dataset, self.episode)
        if self.html is not None:
            return _page(episode, self.html, self.max_height)
        from waldo.datasets.view import rerun_view

        if self.save is not None:
            with console.progress() as progress:
                bar = progress.add_task("writing the recording", total=None, note="")
                rerun_view.save(episode, self.save, lambda n, of: progress.update(bar, completed=n, total=of))
            console.out().print(f"{escape(str(self.save))}: open with: rerun {escape(str(self.save))}")
        elif self.web:
            rerun_view.serve(episode, lambda url: console.err().print(f"viewer: {url}\nstop with Ctrl-C"))
        elif not has_display():
            raise NoDisplayError
        else:
            rerun_view.spawn(episode)
        return 0


def open_episode(address: str, index: int | None) -> Episode:
    """Return an episode with its edits.

    Args:
        address: Address of a dataset, or of an episode in it.
        index: Index of the episode; None for the last one.

    Raises:
        FileError: If the dataset has no such episode.
    """
    from waldo.datasets.dataset import Dataset
    from waldo.datasets.storage.layout import NAME
    from waldo.datasets.storage.store_path import open_path

    path = open_path(address)
    match = NAME.fullmatch(path.name)
    if match and match[2] == "zarr" and not match[3] and index is None:
        return require_episode(Dataset.open(path.parent), int(match[1]))
    dataset = Dataset.open(path)
    if not dataset.indices:
        raise FileError(path, "the dataset has no finished episode", "record one, or run waldo recover")
    return require_episode(dataset, dataset.indices[-1] if index is None else index)


def require_episode(dataset: Dataset, index: int) -> Episode:
    """Return the episode with an index; raise FileError if there is none."""
    if index not in dataset.indices:
        raise FileError(dataset.path, f"the dataset has no episode {index}", "see: waldo list")
    return dataset.episodes.with_index(index)


def has_display() -> bool:
    """Return whether a window can be opened."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _page(episode: Episode, out: Path, max_height: int) -> int:
    """Write the page and print its size."""
    from waldo.datasets.view.page import PageConfig, write_page

    with console.progress() as progress:
        bar = progress.add_task("writing the page", total=None, note="")
        config = PageConfig(max_height=max_height)
        result = write_page(episode, out, config, lambda n, of: progress.update(bar, completed=n, total=of))
    console.out().print(f"{escape(str(result.path))}: {format_bytes(result.nbytes)}, opens in any browser")
    for note in result.notes:
        console.out().print(f"  {escape(note)}")
    if result.is_large:
        do = "reduce it with --max-height 240, or write a Rerun recording with --save"
        console.err().print(f"[yellow]browsers take long to open {format_bytes(result.nbytes)}[/yellow]; {do}")
    return 0
