"""Lockstep: simulated time advances once the operator has answered and the recorder has received every message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

PEERS = ("operator", "recorder")
"""Processes that the clock of a simulated robot can wait for."""


class Lockstep:
    """Counts the messages that were published and received."""

    def __init__(self, peers: Sequence[str]) -> None:
        self.peers = tuple(peers)
        self._published: dict[str, int] = {}
        self._received: dict[str, int] = {}
        self._command_ns, self._command_sequence = -1, 0

    def __bool__(self) -> bool:
        """Whether the clock waits for any process."""
        return bool(self.peers)

    def count(self, topic: str) -> None:
        """Count a published message."""
        self._published[topic] = self._published.get(topic, 0) + 1

    def acknowledge(self, received: Mapping[str, int]) -> None:
        """Store the recorder's acknowledgement: topic -> sequence number of the last message received."""
        self._received = dict(received)

    def command(self, stamp_ns: int, sequence: int) -> None:
        """Register a command of the operator: the stamp of the state that it answers [ns], and its sequence number."""
        self._command_ns, self._command_sequence = stamp_ns, sequence

    def is_received(self, topic: str) -> bool:
        """Return whether the recorder has received every message of a topic."""
        return "recorder" not in self.peers or self._received.get(topic, 0) >= self._published.get(topic, 0)

    def all_received(self) -> bool:
        """Return whether the recorder has received every message, including the operator's last command."""
        if "recorder" not in self.peers:
            return True
        latest = {**self._published, "joint_commands": self._command_sequence}
        return all(self._received.get(topic, 0) >= count for topic, count in latest.items())

    def is_answered(self, stamp_ns: int) -> bool:
        """Return whether the operator has answered the state of a stamp [ns]."""
        return "operator" not in self.peers or self._command_ns >= stamp_ns

    def subscribers(self, topics: Iterable[str]) -> dict[str, int]:
        """Return topic -> number of subscriptions to wait for, so that no peer misses the first message."""
        required = dict.fromkeys(topics, int("recorder" in self.peers))
        return required | dict.fromkeys(("joint_states", "environment_state"), len(self.peers))

    def publishers(self) -> tuple[str, ...]:
        """Return the topics on which the peers publish."""
        topics = {"operator": "joint_commands", "recorder": "received"}
        return tuple(topics[peer] for peer in self.peers)
