"""The real-time and the lockstep loop, on a clock that the test advances."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation, Session
from waldo.collect.teleop.loop import STATE_TIMEOUT_S, TeleopLoop
from waldo.errors import HardwareError, WaldoError

HZ = 50.0
PERIOD_S = 1 / HZ


class FakeTransport:
    """Time that passes only while the loop waits, and a list of the published commands."""

    def __init__(self, *, observed: bool = True) -> None:
        self.now_s = 100.0
        self.published: list[tuple[list[float] | None, int]] = []
        self.published_s: list[float] = []
        self.latest: Observation | None = self.observation(0) if observed else None
        self.on_spin: Callable[[], None] = lambda: None

    def observation(self, stamp_ns: int) -> Observation:
        return Observation(stamp_ns=stamp_ns, position=np.zeros(2), environment={})

    def publish(self, targets: np.ndarray | None, stamp_ns: int) -> None:
        self.published.append((None if targets is None else targets.tolist(), stamp_ns))
        self.published_s.append(self.now_s)

    def monotonic_s(self) -> float:
        return self.now_s

    def time_ns(self) -> int:
        return round(self.now_s * 1e9)

    def spin_for(self, seconds: float) -> None:
        self.now_s += seconds
        self.on_spin()

    def spin_until(self, condition: Callable[[], bool], timeout_s: float | None = None) -> bool:
        deadline_s = self.now_s + (1000.0 if timeout_s is None else timeout_s)
        while not condition():
            if self.now_s >= deadline_s:
                return False
            self.now_s += 0.001
            self.on_spin()
        return True

    @property
    def targets(self) -> list[list[float] | None]:
        return [targets for targets, _ in self.published]


class FakeDevice:
    """A device that returns a sequence of targets, and calls a hook in each step."""

    def __init__(self, *targets: float | None, hook: Callable[[int, Session], None] = lambda k, session: None) -> None:
        self._targets, self._hook = targets, hook
        self.calls: list[str] = []
        self.steps = 0
        self.dt_s: list[float] = []

    def open(self) -> None:
        self.calls.append("open")

    def step(self, observation: Observation, session: Session, dt_s: float) -> np.ndarray | None:
        self._hook(self.steps, session)
        target = self._targets[self.steps]
        self.steps += 1
        self.dt_s.append(dt_s)
        return None if target is None else np.full(2, target)

    @property
    def finished(self) -> bool:
        return self.steps >= len(self._targets)

    def close(self) -> None:
        self.calls.append("close")


def never() -> bool:
    return False


def run(device: FakeDevice, transport: FakeTransport, done: Callable[[], bool] = never, **options: bool) -> None:
    TeleopLoop(device, RecordingSession(), transport, rate_hz=HZ, **options).run(done)


def test_each_engaged_cycle_publishes_a_command_at_the_rate() -> None:
    device, transport = FakeDevice(0.1, 0.2, 0.3), FakeTransport()
    run(device, transport)
    assert transport.targets == [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], None]
    np.testing.assert_allclose(np.diff(transport.published_s), PERIOD_S)
    assert [stamp for _, stamp in transport.published[:3]] == [round(s * 1e9) for s in transport.published_s[:3]]
    np.testing.assert_allclose(device.dt_s, PERIOD_S)


def test_letting_go_is_published_once_and_then_nothing() -> None:
    transport = FakeTransport()
    run(FakeDevice(None, 0.1, None, None, None, 0.2, 0.3), transport)
    assert transport.targets == [[0.1, 0.1], None, [0.2, 0.2], [0.3, 0.3], None]


def test_closing_lets_the_robot_go_before_the_device_is_closed() -> None:
    transport, order = FakeTransport(), list[str]()
    device = FakeDevice(0.1, 0.2)
    device.close = lambda: order.append(f"close after {transport.targets[-1]}")  # type: ignore[method-assign]
    run(device, transport)
    assert transport.targets[-1] is None
    assert order == ["close after None"]


def test_a_signal_lets_the_robot_go() -> None:
    transport = FakeTransport()
    device = FakeDevice(*[0.1] * 100)
    run(device, transport, done=lambda: device.steps == 3)
    assert transport.targets == [[0.1, 0.1]] * 3 + [None]
    assert device.calls == ["open", "close"]


def test_a_failing_device_lets_the_robot_go() -> None:
    def fail(step: int, _: Session) -> None:
        if step == 2:
            raise HardwareError("no response")

    device, transport = FakeDevice(*[0.1] * 5, hook=fail), FakeTransport()
    with pytest.raises(HardwareError, match="no response"):
        run(device, transport)
    assert transport.targets == [[0.1, 0.1]] * 2 + [None]
    assert device.calls == ["open", "close"]


def test_a_device_that_cannot_be_opened_publishes_nothing() -> None:
    device, transport = FakeDevice(0.1), FakeTransport()

    def fail() -> None:
        raise HardwareError("absent")

    device.open = fail  # type: ignore[method-assign]
    with pytest.raises(HardwareError, match="absent"):
        run(device, transport)
    assert transport.published == []


def test_a_slow_cycle_delays_later_ones_but_none_is_made_up_for() -> None:
    transport = FakeTransport()

    def slow(step: int, _: Session) -> None:
        if step == 1:
            transport.now_s += 5 * PERIOD_S

    run(FakeDevice(*[0.1] * 5, hook=slow), transport)
    gaps = np.diff(transport.published_s) / PERIOD_S
    # The command after a slow cycle is immediate, as its deadline has passed.
    np.testing.assert_allclose(gaps, [6, 0, 1, 1, 1], atol=1e-6)


def test_a_short_delay_does_not_slow_the_rate() -> None:
    transport = FakeTransport()

    def late(step: int, _: Session) -> None:
        transport.latest = transport.observation(step)
        transport.now_s += 0.4 * PERIOD_S * (step % 2)

    run(FakeDevice(*[0.1] * 101, hook=late), transport)
    mean_s = (transport.published_s[100] - transport.published_s[0]) / 100
    assert mean_s == pytest.approx(PERIOD_S)


def test_the_device_calls_services_through_the_session() -> None:
    session = RecordingSession()

    def request(step: int, given: Session) -> None:
        if step == 1:
            given.request("save")

    loop = TeleopLoop(FakeDevice(None, None, None, hook=request), session, FakeTransport(), rate_hz=HZ)
    loop.run(never)
    assert session.services == ["save"]


def test_the_loop_waits_for_the_first_state() -> None:
    transport = FakeTransport(observed=False)

    def arrive() -> None:
        if transport.now_s > 103.0:
            transport.latest = transport.observation(7)

    transport.on_spin = arrive
    run(FakeDevice(0.1), transport)
    assert transport.published_s[0] == pytest.approx(103.0, abs=0.01)


def test_without_a_state_the_loop_reports_what_to_check() -> None:
    device, transport = FakeDevice(0.1), FakeTransport(observed=False)
    expected = "^no joint_states received for 10 s; check that the robot node runs in this namespace and ROS domain$"
    with pytest.raises(WaldoError, match=expected):
        run(device, transport)
    assert transport.now_s == pytest.approx(100.0 + STATE_TIMEOUT_S, abs=0.2)
    assert device.calls == ["open", "close"]


def test_a_signal_ends_the_wait_for_the_first_state() -> None:
    transport = FakeTransport(observed=False)
    run(FakeDevice(0.1), transport, done=lambda: transport.now_s > 101.0)
    assert transport.now_s < 102.0
    assert transport.targets == [None]


def test_in_lockstep_each_state_is_answered_once_with_its_own_stamp() -> None:
    transport = FakeTransport()

    def advance() -> None:
        latest = transport.latest
        assert latest is not None
        if len(transport.published) > latest.stamp_ns // 10:
            transport.latest = transport.observation(latest.stamp_ns + 10)

    transport.on_spin = advance
    run(FakeDevice(0.1, None, 0.2), transport, lockstep=True)
    # A cycle without targets is answered as well: the simulation waits for it.
    assert transport.published == [([0.1, 0.1], 0), (None, 10), ([0.2, 0.2], 20), (None, 20)]


def test_in_lockstep_the_answer_has_the_stamp_of_the_observation_given_to_the_device() -> None:
    transport = FakeTransport()

    def arrives_during_the_step(step: int, _: Session) -> None:
        transport.latest = transport.observation(10 * (step + 1))

    run(FakeDevice(0.1, 0.2, hook=arrives_during_the_step), transport, lockstep=True)
    assert transport.published[:2] == [([0.1, 0.1], 0), ([0.2, 0.2], 10)]


def test_in_lockstep_a_signal_ends_the_wait_for_the_next_state() -> None:
    transport = FakeTransport()
    run(FakeDevice(0.1, 0.2), transport, done=lambda: transport.now_s > 100.5, lockstep=True)
    assert transport.targets == [[0.1, 0.1], None]


def test_a_robot_that_sends_no_state_is_reported_and_not_commanded() -> None:
    transport, session = FakeTransport(), RecordingSession()
    device = FakeDevice(*[0.1] * 60)

    def states_until_one_second() -> None:
        if not 100.4 < transport.now_s < 101.1:
            transport.latest = transport.observation(round(transport.now_s * 1e9))

    transport.on_spin = states_until_one_second
    TeleopLoop(device, session, transport, rate_hz=HZ).run(never)
    assert session.texts == ["the robot sends no state: check that waldo robot is running", "the robot is back"]
    silent = [s for s, targets in zip(transport.published_s, transport.targets, strict=True) if targets is None]
    # One command without joints when the robot falls silent, and one at the end.
    assert len(silent) == 2
    assert silent[0] == pytest.approx(100.9, abs=0.05)
    assert not [s for s in transport.published_s if silent[0] < s < 101.1]
