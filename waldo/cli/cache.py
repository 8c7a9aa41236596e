"""`waldo cache`: build a frame cache for training, or compare it with the recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from waldo import console
from waldo.cli.support.arguments import DatasetAddress
from waldo.datasets.selection import Selection

if TYPE_CHECKING:
    from waldo.datasets.reading.cache_check import CacheFault


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Decode a dataset's frames once, at the size that training needs. Run it again to add new episodes."""

    dataset: DatasetAddress
    """The dataset's folder."""
    out: Annotated[Path, tyro.conf.Positional]
    """Folder of the cache, for `waldo train --cache`."""
    height: int | None = None
    """Height of the frames [px]; as recorded if neither this nor --width is given."""
    width: int | None = None
    """Width of the frames [px]."""
    cameras: tuple[str, ...] = ()
    """Cameras by name, such as `front wrist`; all by default."""
    selection: Selection = field(default_factory=lambda: Selection(outcome=("success",)))
    """The episodes to include."""
    threads: int | None = None
    """Number of decoding threads; one per core by default."""
    check: bool = False
    """Compare every frame of an existing cache with the recording. Exit code 1 if they differ."""

    def run(self) -> int:
        """Build or check the cache and print the result."""
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.reading.cache_build import build_cache
        from waldo.datasets.reading.cache_check import check_cache
        from waldo.datasets.reading.frame_cache import CacheConfig, FrameCache
        from waldo.datasets.reading.row_config import camera_streams
        from waldo.errors import NoMatchError, count
        from waldo.files import format_bytes

        dataset = Dataset.open(self.dataset)
        indices = dataset.select(self.selection)
        if not indices:
            do = "by default only successful episodes are included"
            raise NoMatchError("episode", len(dataset.indices), do)
        openers = [partial(dataset.episode, index) for index in indices]
        with console.progress() as progress:
            bar: Any = progress.add_task("checking" if self.check else "decoding", total=len(indices), note="")

            def advance(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=total)

            if self.check:
                faults = list(check_cache(FrameCache.open(self.out), openers, advance))
                return _print_faults(faults, len(indices))
            chosen = camera_streams(openers[0](), self.cameras) if self.cameras else ()
            config = CacheConfig(height=self.height, width=self.width, cameras=chosen)
            cache = FrameCache.create(self.out, config)
            result = build_cache(cache, openers, threads=self.threads, advance=advance)
        console.out().print(
            f"{self.out}: {count(result.built, 'episode')} built, {result.kept} up to date, {result.removed} removed, "
            f"{format_bytes(result.nbytes)}",
            markup=False,
        )
        return 0


def _print_faults(faults: Sequence[CacheFault], episodes: int) -> int:
    """Print the faults of a cache; return the exit code."""
    from waldo.errors import count

    for fault in faults:
        where = f"episode {fault.index}" + (f", {fault.camera}" if fault.camera else "")
        console.out().print(f"{where}: {fault.found}", markup=False)
    console.out().print(f"{count(len(faults), 'fault')} in the cache of {count(episodes, 'episode')}")
    return 1 if faults else 0
