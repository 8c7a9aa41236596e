"""The rules on a live episode: they find what `waldo check` finds in the recorded one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.recordings import HEIGHT, START_NS, WIDTH, Script, write
from waldo.collect.recorder.checks.live_quality import LiveQuality
from waldo.datasets.dataset import Dataset
from waldo.datasets.quality import motion
from waldo.datasets.quality.check import check_episode
from waldo.datasets.quality.motion import Stretch
from waldo.datasets.quality.rules import KINDS, Rules
from waldo.robots.description import Robot

RULES = Rules(lag_s=0.3, frozen_s=0.4)


class Both:
    """Writes to an episode and to the live check, as the recorder does."""

    def __init__(self, writer: Any, quality: LiveQuality) -> None:
        self.streams, self._writer, self._quality = writer.streams, writer, quality

    def row(self, stream: str, *, values: Any, **stamps: Any) -> None:
        self._writer.row(stream, values=values, **stamps)
        self._quality.row(stream, {name: np.asarray(value) for name, value in values.items()}, stamps)

    def frame(self, stream: str, *, image: np.ndarray, **stamps: Any) -> None:
        self._writer.frame(stream, image=image, **stamps)
        self._quality.frame(stream, image, stamps)


@pytest.fixture
def compare(locked: Dataset, streams: Any, robot: Robot, monkeypatch: pytest.MonkeyPatch) -> Callable[..., set[Any]]:
    """Return a function that records a script and returns what both find, which must be the same."""
    monkeypatch.setattr("waldo.datasets.quality.check.load_robot", lambda name: robot)

    def run(play: Callable[[Any], None], rules: Rules = RULES) -> set[Any]:
        writer = locked.begin(streams, {}, back_pressure="wait")
        rates = {stream.name: stream.rate_hz for stream in streams}
        live = LiveQuality(robot, rules, rate_hz=rates.__getitem__, lost=lambda name: writer.lost(name))
        live.begin(list(writer.streams))
        play(Both(writer, live))
        found = {(one.kind, one.stream) for one in live.look(complete=True) if one.level == "problem"}
        blocking = {(one.kind, one.stream) for one in live.blocking()}
        assert blocking == {one for one in found if one[0] in rules.block}
        writer.save("success", wait=True)
        report = check_episode(locked.episodes[len(locked.episodes) - 1], rules)
        expected = {(one.kind, one.stream) for one in report.findings if one.level == "problem" and one.kind in KINDS}
        assert found == expected
        return found

    return run


CASES: dict[str, tuple[Script, set[tuple[str, str]]]] = {
    "nothing": (Script(seconds=5.0), set()),
    "rows": (Script(seconds=5.0, without_rows=range(60, 66)), {("loss", "joints/state"), ("gap", "joints/state")}),
    "end": (Script(seconds=5.0, without_rows=range(250, 300)), {("silence", "joints/state")}),
    "rate": (
        Script(seconds=5.0, without_frames={"cameras/wrist": range(1, 150, 2)}),
        {("loss", "cameras/wrist"), ("rate", "cameras/wrist")},
    ),
    "frozen": (Script(seconds=5.0, frozen={"cameras/front": range(30, 60)}), {("frozen", "cameras/front")}),
    "limit": (Script(seconds=5.0, command_offset=0.3), {("limit", "joints/command"), ("clipped", "")}),
    "limit at the end": (Script(seconds=2.5, command_offset=0.3), {("limit", "joints/command"), ("clipped", "")}),
    "heat": (Script(seconds=5.0, winding_c=71.0), {("heat", "motors")}),
    "late": (Script(seconds=5.0, late_ns=300_000_000), {("staleness", "*")}),
    "released": (Script(seconds=5.0, hands_off=range(100, 200)), set()),
}


@pytest.mark.parametrize("case", CASES)
def test_both_find_the_same(compare: Callable[..., set[Any]], case: str) -> None:
    script, expected = CASES[case]
    found = compare(lambda writer: write(writer, script), Rules(lag_s=0.3, frozen_s=0.4, block=("frozen", "loss")))
    if ("staleness", "*") in expected:
        assert {kind for kind, _ in found} == {"staleness"}
        return
    assert found >= expected
    assert {kind for kind, _ in found - expected} <= ({"rate"} if case in ("rows", "end") else set())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    frozen=st.integers(0, 60).flatmap(lambda first: st.tuples(st.just(first), st.integers(0, 40))),
    rows=st.integers(0, 200).flatmap(lambda first: st.tuples(st.just(first), st.integers(0, 50))),
    hands_off=st.integers(0, 200),
    offset=st.floats(-0.4, 0.4),
)
def test_both_find_the_same_of_any_faults(
    compare: Callable[..., set[Any]], frozen: tuple[int, int], rows: tuple[int, int], hands_off: int, offset: float
) -> None:
    script = Script(
        seconds=4.5,
        frozen={"cameras/front": range(frozen[0], sum(frozen))},
        without_rows=range(rows[0], sum(rows)),
        hands_off=range(hands_off, hands_off + 30),
        command_offset=offset,
    )
    compare(lambda writer: write(writer, script))


def rows(writer: Any, *, seconds: float, delay_s: float = 0.0, moves: bool = True, bright: int = 120) -> None:
    """Write states that follow their commands with a delay, and images of one brightness."""
    for tick in range(round(seconds * 60)):
        stamp = START_NS + round(tick * 1e9 / 60)
        kw = {"header_ns": stamp, "receipt_ns": stamp + 1_000_000, "sequence": tick + 1}

        def at(time_s: float) -> np.ndarray:
            return np.array([0.5, 0.2, 0.1]) * np.sin(3 * time_s) if moves else np.zeros(3)

        zeros = np.zeros(3)
        state = {"position": at(tick / 60 - delay_s), "velocity": zeros, "effort": zeros}
        writer.row("joints/state", values=state, **kw)
        for stream in ("joints/command", "joints/sent"):
            writer.row(stream, values={"position": at(tick / 60)}, **kw)
        writer.row("environment", values={"value": [0.0, 0.0]}, **kw)
        if tick % 6 == 0:
            heat = {"winding": np.full(3, 30.0), "duty": zeros, "time_to_limit": np.full(3, np.inf)}
            writer.row("motors", values=heat, **(kw | {"sequence": tick // 6 + 1}))
        if tick % 2 == 0:
            image = np.full((HEIGHT, WIDTH, 3), bright, np.uint8)
            image[: HEIGHT // 2, :] //= 2
            image[0, tick % WIDTH] = 0
            for camera in ("cameras/front", "cameras/wrist"):
                writer.frame(camera, image=image, **(kw | {"sequence": tick // 2 + 1}))


def test_a_delay_is_measured(compare: Callable[..., set[Any]]) -> None:
    assert compare(lambda writer: rows(writer, seconds=8.0, delay_s=0.4)) == {("lag", "")}
    assert compare(lambda writer: rows(writer, seconds=8.0, delay_s=0.1)) == set()


def test_time_without_motion_is_found(compare: Callable[..., set[Any]]) -> None:
    assert compare(lambda writer: rows(writer, seconds=8.0, moves=False)) == {("idle", "")}


def test_a_dark_camera_is_found(compare: Callable[..., set[Any]]) -> None:
    found = compare(lambda writer: rows(writer, seconds=3.0, bright=6))
    assert found == {("dark", "cameras/front"), ("dark", "cameras/wrist")}


def test_a_finding_on_a_mean_ends_and_others_stay(robot: Robot, streams: Any) -> None:
    rates = {stream.name: stream.rate_hz for stream in streams}
    live = LiveQuality(robot, Rules(), rate_hz=rates.__getitem__)
    live.begin(["joints/state"])
    zeros = np.zeros(3)

    def states(first_s: float, last_s: float, hz: float) -> None:
        for k in range(round((last_s - first_s) * hz)):
            at = START_NS + round((first_s + k / hz) * 1e9)
            values = {"position": zeros + 0.02 * k, "velocity": zeros, "effort": zeros}
            live.row("joints/state", values, {"header_ns": at, "receipt_ns": at, "sequence": -1})

    states(0.0, 5.0, 15.0)
    assert {one.kind for one in live.look()} == {"rate", "gap"}
    states(5.0, 25.0, 60.0)
    assert {one.kind for one in live.look()} == {"gap"}
    live.begin(["joints/state"])
    assert live.look() == []


@pytest.mark.parametrize("first_ns", [5_000_000_000, START_NS - 400 * 86_400 * 10**9])
def test_a_clock_that_is_set_forward_costs_no_time(
    robot: Robot, streams: Any, monkeypatch: pytest.MonkeyPatch, first_ns: int
) -> None:
    rates = {stream.name: stream.rate_hz for stream in streams}
    live = LiveQuality(robot, Rules(), rate_hz=rates.__getitem__)
    live.begin(["joints/state"])
    measured: list[int] = []

    def measure(*args: Any) -> Stretch:
        measured.append(args[3])
        assert len(measured) < 100
        return motion.measure(*args)

    monkeypatch.setattr("waldo.collect.recorder.checks.live_quality.measure", measure)
    zeros = np.zeros(3)
    for start_ns in (first_ns, START_NS):
        for k in range(300):
            at = start_ns + round(k * 1e9 / 60)
            values = {"position": zeros + 0.02 * k, "velocity": zeros, "effort": zeros}
            live.row("joints/state", values, {"header_ns": at, "receipt_ns": at, "sequence": -1})
    live.look(complete=True)
    assert len(measured) == 5
    assert {(at - first_ns) % (2 * 10**9) for at in measured} == {0}


@pytest.mark.parametrize("function", ["measure", "check_times", "brightness"])
def test_an_error_in_a_check_is_a_finding_and_costs_no_recording(
    robot: Robot, streams: Any, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """The recorder calls it for each message; `waldo check` reads the record in any case."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of a rule")

    module = "camera_watch" if function == "brightness" else "live_quality"
    monkeypatch.setattr(f"waldo.collect.recorder.checks.{module}.{function}", fail)
    live = LiveQuality(robot, Rules(block=("gap",)), rate_hz=lambda _: 60.0)
    for episode in range(2):
        live.begin(["joints/state", "cameras/front"])
        for k in range(400):
            at = START_NS + round(k * 1e9 / 60)
            stamps: Any = {"header_ns": at, "receipt_ns": at, "sequence": -1}
            values = {"position": np.zeros(3), "velocity": np.zeros(3), "effort": np.zeros(3)}
            live.row("joints/state", values, stamps)
            live.frame("cameras/front", np.full((4, 4, 3), k % 250, np.uint8), stamps)
        live.look()
        (found,) = [one for one in live.look() if one.kind == "live_check"]
        assert "ZeroDivisionError('of a rule')" in found.text, episode
        assert "waldo check" in found.text
        assert live.blocking() == []
