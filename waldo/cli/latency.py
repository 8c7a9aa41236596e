"""`waldo latency`: measure the time from exposure to timestamp of each camera and store it with the dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.markup import escape

from waldo import console
from waldo.cli.support.arguments import DatasetAddress
from waldo.cli.view import open_episode
from waldo.errors import FileError, InvalidValueError, WaldoError, count
from waldo.files import write_atomic

if TYPE_CHECKING:
    from waldo.datasets.episode import Episode
    from waldo.datasets.quality.latency import Latency


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Show a machine-readable clock in a browser on this machine. Run it on the machine that stamps the frames."""

    html: Path | None = None
    """Write the page to this file instead of serving it."""
    port: int = 8655
    """Port on 127.0.0.1; 0 for any free port."""

    def run(self) -> int:
        """Serve the page until SIGINT, or write it to a file."""
        from waldo.datasets.view.clock_page import clock_page, clock_server

        if self.html is not None:
            write_atomic(self.html, clock_page())
            console.out().print(f"{escape(str(self.html))}: open this page on the machine that stamps the frames")
            return 0
        if not 0 <= self.port <= 65535:
            raise InvalidValueError("--port", self.port, "0 to 65535")
        with clock_server(self.port) as server:
            console.out().print(f"clock: http://127.0.0.1:{server.server_port}/")
            console.out().print("show it to each camera while `waldo record` records an episode of a few seconds,")
            console.out().print("then run: waldo latency measure DATASET; stop the clock with Ctrl-C")
            server.serve_forever()
        return 0


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Measure latencies with the clock in the images of an episode. Exit code 1 if one cannot be measured."""

    dataset: DatasetAddress
    """Folder of the dataset, or of an episode in it."""
    episode: Annotated[int | None, tyro.conf.Positional] = None
    """Index of the episode; the last one by default."""
    cameras: tuple[str, ...] = ()
    """Camera streams, such as `cameras/front`; all by default."""
    display_ms: float = 0.0
    """Latency of the screen, typically 10 to 40 at 60 Hz; it is subtracted [ms]."""
    set: bool = False
    """Store the result with the dataset; exports and training then subtract it from the stamps."""

    def run(self) -> int:
        """Measure, print, and store the result on request."""
        from waldo.datasets.quality.latency import measure_clock

        if not 0 <= self.display_ms <= 1000:
            raise InvalidValueError("--display-ms", self.display_ms, "0 to 1000")
        display_ns = round(self.display_ms * 1e6)

        def measure(episode: Episode, camera: str, advance: Callable[[int, int], None]) -> Latency:
            return measure_clock(episode, camera, display_ns=display_ns, advance=advance)

        return _measure(self.dataset, self.episode, self.cameras, self.set, measure)


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Measure latencies with the motion of the robot in the images. Exit code 1 if one cannot be measured.

    For when no screen is available: let the robot start and stop in view of the camera for some seconds while
    everything else stands still.
    """

    dataset: DatasetAddress
    """Folder of the dataset, or of an episode in it."""
    episode: Annotated[int | None, tyro.conf.Positional] = None
    """Index of the episode; the last one by default."""
    cameras: tuple[str, ...] = ()
    """Camera streams, such as `cameras/front`; all by default."""
    set: bool = False
    """Store the result with the dataset; exports and training then subtract it from the stamps."""

    def run(self) -> int:
        """Measure, print, and store the result on request."""
        from waldo.datasets.quality.latency import measure_motion

        def measure(episode: Episode, camera: str, advance: Callable[[int, int], None]) -> Latency:
            return measure_motion(episode, camera, advance=advance)

        return _measure(self.dataset, self.episode, self.cameras, self.set, measure)


@dataclass(frozen=True, kw_only=True)
class LatencyCommand:
    """Measure the latency of each camera, from exposure to timestamp."""

    method: Annotated[
        Annotated[Clock, tyro.conf.subcommand("clock")]
        | Annotated[Measure, tyro.conf.subcommand("measure")]
        | Annotated[Motion, tyro.conf.subcommand("motion")],
        tyro.conf.OmitSubcommandPrefixes,
    ]
    """Show a clock, read it in an episode, or use the motion of the robot."""

    def run(self) -> int:
        """Run the subcommand."""
        return self.method.run()


def _measure(
    path: str,
    index: int | None,
    named: Sequence[str],
    keep: bool,
    measure: Callable[[Episode, str, Callable[[int, int], None]], Latency],
) -> int:
    """Measure cameras one after another, print the results, and store them if `keep` is set."""
    episode = open_episode(path, index)
    cameras = named or tuple(episode.cameras)
    if not cameras:
        raise FileError(episode.path, "the episode has no camera", "record an episode with one")
    found: list[Latency] = []
    failed: list[WaldoError] = []
    for camera in cameras:
        with console.progress() as progress:
            bar = progress.add_task(escape(camera), total=None, note="")
            episode.camera(camera)
            try:
                found.append(
                    measure(episode, camera, lambda n, of, p=progress, b=bar: p.update(b, completed=n, total=of))
                )
            except WaldoError as error:
                failed.append(error)
    for latency in found:
        console.out().print(
            f"{escape(latency.camera)}: {latency.latency_ns / 1e6:.1f} ms latency (exposure to timestamp), "
            f"standard deviation {latency.spread_ns / 1e6:.1f} ms, "
            f"{count(latency.used, 'reading')} in {count(latency.frames, 'frame')}"
        )
    for error in failed:
        console.out().print(f"[red]{escape(str(error))}[/red]")
    if keep and found:
        from waldo.datasets.dataset import Dataset

        Dataset.open(episode.path.parent).set_latency({latency.camera: latency.latency_ns for latency in found})
        console.out().print("stored with the dataset, for all of its episodes")
    return 1 if failed else 0
