"""The lines of the recorder's display."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waldo.collect.recorder.status import RecordingStatus, StreamStatus

if TYPE_CHECKING:
    from rich.text import Text

    from waldo.datasets.quality.finding import Finding

STATES = {
    "recording": ("bold white on red3", " RECORDING "),
    "stopped": ("bold black on yellow", " STOPPED "),
    "idle": ("dim", " idle "),
}
"""State of the recorder -> its style and text."""

MIN_RATE = 0.9
"""Fraction of a stream's nominal rate below which it is marked."""


def recording_lines(status: RecordingStatus, goal: int = 0, keys: str = "") -> list[Text]:
    """Return the lines of a status: the episode, its streams, disk and faults, and the keys.

    Args:
        status: The recorder's status.
        goal: Number of episodes to record; 0 for no goal.
        keys: The keys that the recorder reads from this terminal; empty if it reads none.
    """
    from rich.text import Text

    style, state = STATES[status.state]
    first = Text.assemble(
        (state, style),
        (f" {status.elapsed} ", "bold") if status.state != "idle" else "",
        f" episode {status.episode}   {status.saved}{f' of {goal}' if goal else ''} saved   ",
        (status.task, "italic"),
    )
    streams = Text("   ").join([_stream(name, stream) for name, stream in status.streams.items()])
    last = Text(str(status.space), "bold red" if status.space.full else "yellow" if status.space.low else "")
    if status.waiting:
        last.append(f"   {status.waiting} frames wait for an encoder", "yellow")
    if status.pending > 1:
        last.append(f"   {status.pending} saved episodes are being finalized", "yellow")
    if status.faults:
        last.append(f"   faults: {', '.join(status.faults)}", "bold red")
    gates = [Text(f"not ready: {gate.name}: {gate.reason}", "yellow") for gate in status.gates]
    gates = gates if status.state == "idle" else [_breach(one, status) for one in status.breaches]
    return [first, *([streams] if status.streams else []), last, *gates, *([Text(keys, "dim")] if keys else [])]


def _breach(found: Finding, status: RecordingStatus) -> Text:
    """Return a problem of the live episode; red if it blocks a save."""
    from rich.text import Text

    blocks = found.kind in status.blocking
    name = f"{found.kind}: {found.stream}" if found.stream else found.kind
    return Text(f"{name}: {found.text}{' (blocks saving)' if blocks else ''}", "bold red" if blocks else "yellow")


def _stream(name: str, stream: StreamStatus) -> Text:
    """Return a stream's name, rate and losses; red if it has stopped, yellow if it is slow or has losses."""
    from rich.text import Text

    slow = stream.rate_hz < MIN_RATE * stream.nominal_hz
    style = "bold red" if stream.stopped else "yellow" if slow or stream.lost else "green"
    lost = f" {stream.lost} lost" if stream.lost else ""
    rate = "NO MESSAGES" if stream.stopped else f"{stream.rate_hz:.0f} Hz"
    return Text(f"{name} {rate}{lost}", style)
