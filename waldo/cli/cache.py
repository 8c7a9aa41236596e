"""`waldo cache`: decoded frames for training, built once from the archive and compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from waldo import console
from waldo.cli.arguments import DatasetAddress
from waldo.datasets.selection import Selection

if TYPE_CHECKING:
    from waldo.datasets.reading.frame_cache import CacheFault


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Decode a dataset's frames once, at the size that training wants; run again, it builds only what is missing."""

    dataset: DatasetAddress
    """The dataset's folder."""
    out: Annotated[Path, tyro.conf.Positional]
    """Folder of the cache; `waldo train --cache` takes it."""
    height: int | None = None
    """Pixels down; as recorded if neither this nor --width is given."""
    width: int | None = None
    """Pixels across."""
    cameras: tuple[str, ...] = ()
    """Cameras by their short names, such as `front wrist`; all if none is named."""
    selection: Selection = field(default_factory=lambda: Selection(outcome=("success",)))
    """Which episodes."""
    threads: int | None = None
    """Threads that decode; as many as there are cores if it is not given."""
    check: bool = False
    """Compare an existing cache with the archive, every frame. Exit code 1 if they differ."""

    def run(self) -> int:
        """Build or check, and say what was done."""
        from waldo.cli import tables
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.lerobot.export import camera_streams
        from waldo.datasets.reading import frame_cache
        from waldo.datasets.reading.frame_cache import CacheConfig, FrameCache
        from waldo.errors import FileError

        dataset = Dataset.open(self.dataset)
        indices = dataset.select(self.selection)
        if not indices:
            raise FileError(self.dataset, "has no episode that is asked for", "pass --outcome success failure unknown")
        openers = [partial(dataset.episode, index) for index in indices]
        with console.progress() as progress:
            bar: Any = progress.add_task("checking" if self.check else "decoding", total=len(indices), note="")

            def advance(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=total)

            if self.check:
                faults = list(frame_cache.check(FrameCache.open(self.out), openers, advance))
                return _say_faults(faults, len(indices))
            chosen = camera_streams(openers[0](), self.cameras) if self.cameras else ()
            config = CacheConfig(height=self.height, width=self.width, cameras=chosen)
            cache = FrameCache.create(self.out, config)
            result = frame_cache.build(cache, openers, threads=self.threads, advance=advance)
        console.out().print(
            f"{self.out}: {result.built} episodes built, {result.kept} were there, {result.removed} removed, "
            f"{tables.size(result.nbytes)}",
            markup=False,
        )
        return 0


def _say_faults(faults: Sequence[CacheFault], episodes: int) -> int:
    """Print what is wrong with a cache; return the exit code."""
    for fault in faults:
        where = f"episode {fault.index}" + (f", {fault.camera}" if fault.camera else "")
        console.out().print(f"{where}: {fault.found}", markup=False)
    console.out().print(f"{len(faults)} faults in the cache of {episodes} episodes")
    return 1 if faults else 0
