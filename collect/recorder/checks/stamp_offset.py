"""Detection of header stamps of another clock: a camera or robot that stamps with the time since its start."""

from __future__ import annotations

from waldo.datasets.reading.clocks import MAX_OFFSET_S

MIN_MESSAGES = 3
"""Consecutive messages with an implausible stamp after which a stream is reported."""


class StampWatch:
    """Finds the streams whose header stamps are not of this machine's clock. All times are arguments."""

    def __init__(self) -> None:
        """Initialize without streams."""
        self._implausible: dict[str, int] = {}
        self.offsets_ns: dict[str, int] = {}
        """Stream -> receipt minus header stamp [ns], of the reported streams."""

    def received(self, stream: str, header_ns: int, receipt_ns: int) -> int | None:
        """Register a message; return the offset [ns] when the stream is found to have other stamps."""
        offset_ns = receipt_ns - header_ns
        if abs(offset_ns) <= MAX_OFFSET_S * 1e9:
            self._implausible[stream] = 0
            self.offsets_ns.pop(stream, None)
            return None
        self._implausible[stream] = self._implausible.get(stream, 0) + 1
        if self._implausible[stream] != MIN_MESSAGES:
            return None
        self.offsets_ns[stream] = offset_ns
        return offset_ns


def describe(stream: str, offset_ns: int) -> str:
    """Return what an offset [ns] of a stream means, and what to do."""
    return (
        f"the stamps of {stream} are {abs(offset_ns) / 1e9:.1f} s {'behind' if offset_ns > 0 else 'ahead of'} this "
        f"machine's clock; synchronize the clocks, or record this stream with --stamps {stream}=receipt"
    )
