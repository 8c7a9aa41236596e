"""`waldo latency`: find out how late each camera's frames are stamped, and keep it with the dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.markup import escape

from waldo import console
from waldo.cli.arguments import DatasetAddress
from waldo.cli.view import open_episode
from waldo.errors import FileError, InvalidValueError, WaldoError

if TYPE_CHECKING:
    from waldo.datasets.episode import Episode
    from waldo.datasets.quality.latency import Latency


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Show a clock that cameras can read, in a browser on this machine: the one whose clock stamps the frames."""

    html: Path | None = None
    """Write the page to this file instead of serving it."""
    port: int = 8655
    """Port to serve it on, to this machine only; 0 takes any free one."""

    def run(self) -> int:
        """Serve the page until SIGINT, or write it."""
        from waldo.datasets.view.clock_page import clock_page, clock_server

        if self.html is not None:
            self.html.write_text(clock_page())
            console.out().print(f"{escape(str(self.html))}: open it on the machine that stamps the frames")
            return 0
        if not 0 <= self.port <= 65535:
            raise InvalidValueError("--port", self.port, "0 to 65535")
        with clock_server(self.port) as server:
            console.out().print(f"the clock: http://127.0.0.1:{server.server_port}/")
            console.out().print("show it to each camera while `waldo record` records an episode of a few seconds,")
            console.out().print("then: waldo latency measure DATASET. Ctrl-C ends it.")
            server.serve_forever()
        return 0


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Read the clock in an episode's pictures. Exit code 1 if a camera's latency cannot be told."""

    dataset: DatasetAddress
    """The dataset's folder, or an episode in it."""
    episode: Annotated[int | None, tyro.conf.Positional] = None
    """The episode's index; the last one if none is named."""
    cameras: tuple[str, ...] = ()
    """Cameras, such as `cameras/front`; all if none is named."""
    display_ms: float = 0.0
    """How long the screen takes to show what it is sent [ms], 10 to 40 at 60 Hz; else that counts as the camera's."""
    set: bool = False
    """Keep the result: exports and training then take each camera's latency off its stamps."""

    def run(self) -> int:
        """Measure, print, and keep if asked to."""
        from waldo.datasets.quality.latency import measure_clock

        if not 0 <= self.display_ms <= 1000:
            raise InvalidValueError("--display-ms", self.display_ms, "0 to 1000")
        display_ns = round(self.display_ms * 1e6)

        def one(episode: Episode, camera: str, advance: Callable[[int, int], None]) -> Latency:
            return measure_clock(episode, camera, display_ns=display_ns, advance=advance)

        return _measure(self.dataset, self.episode, self.cameras, self.set, one)


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Compare the motion in an episode's pictures with the joints'. Exit code 1 if a latency cannot be told.

    For when no screen is at hand: let the robot start and stop in the picture for some seconds while all else is still.
    """

    dataset: DatasetAddress
    """The dataset's folder, or an episode in it."""
    episode: Annotated[int | None, tyro.conf.Positional] = None
    """The episode's index; the last one if none is named."""
    cameras: tuple[str, ...] = ()
    """Cameras, such as `cameras/front`; all if none is named."""
    set: bool = False
    """Keep the result: exports and training then take each camera's latency off its stamps."""

    def run(self) -> int:
        """Measure, print, and keep if asked to."""
        from waldo.datasets.quality.latency import measure_motion

        def one(episode: Episode, camera: str, advance: Callable[[int, int], None]) -> Latency:
            return measure_motion(episode, camera, advance=advance)

        return _measure(self.dataset, self.episode, self.cameras, self.set, one)


@dataclass(frozen=True, kw_only=True)
class LatencyCommand:
    """Find out how late each camera's frames are stamped: light to stamp."""

    way: Annotated[
        Annotated[Clock, tyro.conf.subcommand("clock")]
        | Annotated[Measure, tyro.conf.subcommand("measure")]
        | Annotated[Motion, tyro.conf.subcommand("motion")],
        tyro.conf.OmitSubcommandPrefixes,
    ]
    """Show a clock, read it in an episode, or go by the robot's own motion."""

    def run(self) -> int:
        """Do it."""
        return self.way.run()


def _measure(
    path: str,
    index: int | None,
    named: Sequence[str],
    keep: bool,
    one: Callable[[Episode, str, Callable[[int, int], None]], Latency],
) -> int:
    """Measure cameras one after another, print what was found, and keep it if asked to."""
    episode = open_episode(path, index)
    cameras = named or tuple(episode.cameras)
    if not cameras:
        raise FileError(episode.path, "has no camera", "record an episode with one")
    found: list[Latency] = []
    failed: list[WaldoError] = []
    for camera in cameras:
        with console.progress() as progress:
            bar = progress.add_task(escape(camera), total=None, note="")
            episode.camera(camera)
            try:
                found.append(one(episode, camera, lambda n, of, p=progress, b=bar: p.update(b, completed=n, total=of)))
            except WaldoError as error:
                failed.append(error)
    for latency in found:
        console.out().print(
            f"{escape(latency.camera)}: {latency.latency_ns / 1e6:.1f} ms from the light to the stamp "
            f"(spread {latency.spread_ns / 1e6:.1f} ms, {latency.used} readings of {latency.looked_at} frames)"
        )
    for error in failed:
        console.out().print(f"[red]{escape(str(error))}[/red]")
    if keep and found:
        from waldo.datasets.dataset import Dataset

        Dataset.open(episode.path.parent).set_latency({latency.camera: latency.latency_ns for latency in found})
        console.out().print("kept with the dataset, for all its episodes")
    return 1 if failed else 0
