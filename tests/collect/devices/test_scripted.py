from __future__ import annotations

import numpy as np
import pytest

from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation, ServiceResponse
from waldo.collect.devices.scripted import ScriptedOperator, ScriptOptions
from waldo.errors import ConfigError, WaldoError

DT_S = 1 / 60
SIMULATED = Observation(stamp_ns=0, position=np.zeros(2), environment={"cube.x": 1.0})
REAL = Observation(stamp_ns=0, position=np.zeros(2), environment={})


class Responding(RecordingSession):
    """A session in which one service fails."""

    def __init__(self, failing: str) -> None:
        super().__init__()
        self._failing = failing

    def call(self, name: str) -> ServiceResponse:
        super().call(name)
        return ServiceResponse(name != self._failing, "no room")


class ThreeTargets:
    """An expert that returns three targets per episode."""

    def begin(self, position: np.ndarray, environment: dict[str, float]) -> None:
        self.remaining = 3

    def command(self, position: np.ndarray, environment: dict[str, float]) -> np.ndarray | None:
        self.remaining -= 1
        return None if self.remaining < 0 else np.full(2, float(self.remaining))


def test_it_records_saves_and_resets_the_scene_between_episodes() -> None:
    numbers: list[int] = []

    def expert(number: int) -> ThreeTargets:
        numbers.append(number)
        return ThreeTargets()

    scripted, session = ScriptedOperator(expert, 2, first=5), RecordingSession()
    targets = [scripted.step(SIMULATED, session, DT_S) for _ in range(9)]
    assert [target is not None for target in targets] == [True, True, True, False, False, True, True, True, False]
    assert session.services == ["start", "task_done", "save", "reset", "start", "task_done", "save"]
    assert numbers == [5, 6]
    assert scripted.finished
    assert scripted.step(SIMULATED, session, DT_S) is None


def test_it_saves_a_failed_task_as_a_failure() -> None:
    scripted, session = ScriptedOperator(lambda _: ThreeTargets(), 1), Responding(failing="task_done")
    for _ in range(4):
        scripted.step(SIMULATED, session, DT_S)
    assert session.services == ["start", "task_done", "fail"]


def test_it_stops_when_a_service_fails() -> None:
    scripted = ScriptedOperator(lambda _: ThreeTargets(), 1)
    with pytest.raises(WaldoError, match=r"^the scripted operator stopped: service start failed: no room$"):
        scripted.step(SIMULATED, Responding(failing="start"), DT_S)


def test_it_requires_a_simulation() -> None:
    scripted = ScriptedOperator(lambda _: ThreeTargets(), 1)
    assert scripted.step(REAL, RecordingSession(), 4.0) is None
    expected = "^no environment_state received; the scripted operator requires a simulated robot$"
    with pytest.raises(WaldoError, match=expected):
        scripted.step(REAL, RecordingSession(), 4.0)


def test_the_number_of_episodes_is_positive() -> None:
    with pytest.raises(ConfigError, match=r"^episodes is 0, expected 1 or more$"):
        ScriptOptions(episodes=0)
