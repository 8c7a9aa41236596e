"""Attempts of a policy: reset, record, act until success or the time is up, save as the strategy demands."""

from __future__ import annotations

import pytest

from waldo.errors import InvalidValueError, WaldoError
from waldo.train.runner.attempts import AttemptConfig, Attempts, Strategy

DT = 0.125


class Services:
    """Services of a robot and a recorder that note their calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.done = False
        self.refused: dict[str, int] = {}
        """Service -> number of calls that are refused."""

    def __call__(self, name: str) -> tuple[bool, str]:
        if name == "task_done":
            return self.done, ""
        self.calls.append(name)
        if self.refused.get(name, 0):
            self.refused[name] -= 1
            return False, f"{name} is not possible"
        return True, ""


@pytest.fixture
def services() -> Services:
    return Services()


def attempts(
    services: Services, strategy: Strategy = "episodic", *, simulated: bool = True, **options: int
) -> Attempts:
    config = AttemptConfig(strategy=strategy, time_limit=1.0, reset_time=0.5, **{"episodes": 2, **options})
    return Attempts(config, services, simulated)


def steps(found: Attempts, count: int, *, person: bool = False) -> list[bool]:
    """Return in which of some cycles the policy may act."""
    return [found.step(DT, person=person) for _ in range(count)]


def test_an_attempt_ends_with_success_and_the_next_one_starts_in_a_new_scene(services: Services) -> None:
    found = attempts(services)
    assert steps(found, 4) == [True] * 4
    services.done = True
    assert steps(found, 1) == [False]
    assert services.calls == ["start", "save"]
    services.done = False
    # The cycle of the reset still shows the scene before.
    assert steps(found, 3) == [False, True, True]
    assert services.calls == ["start", "save", "reset", "start"]
    assert [attempt.success for attempt in found.results] == [True]
    assert not found.finished


def test_an_attempt_ends_with_its_time(services: Services) -> None:
    found = attempts(services, episodes=1)
    acted = steps(found, 20)
    assert sum(acted) == 8
    assert services.calls == ["start", "fail"]
    assert found.finished
    (result,) = found.results
    assert (result.success, result.saved, result.person_s) == (False, True, 0.0)
    assert result.seconds == pytest.approx(1.0)


@pytest.mark.parametrize(("person", "last"), [(True, "fail"), (False, "discard")])
def test_dagger_keeps_the_attempts_in_which_a_person_took_over(services: Services, person: bool, last: str) -> None:
    found = attempts(services, "dagger", episodes=1)
    steps(found, 5)
    steps(found, 10, person=person)
    assert services.calls == ["start", last]
    assert found.results[0].saved is person
    assert found.interventions == int(person)


def test_a_number_of_interventions_ends_the_attempts(services: Services) -> None:
    found = Attempts(AttemptConfig(strategy="dagger", time_limit=1.0, interventions=2), services, simulated=True)
    for person in (True, False, True):
        assert not found.finished
        while not found.step(DT, person=False):
            pass
        while found.step(DT, person=person):
            pass
    assert found.finished
    assert [attempt.saved for attempt in found.results] == [True, False, True]


def test_sentry_records_pieces_without_a_reset_or_a_verdict(services: Services) -> None:
    services.done = True
    found = attempts(services, "sentry", episodes=2)
    steps(found, 25)
    assert services.calls == ["start", "keep", "start", "keep"]
    assert [attempt.success for attempt in found.results] == [None, None]


def test_without_a_strategy_nothing_is_recorded(services: Services) -> None:
    found = attempts(services, "none")
    steps(found, 30)
    assert services.calls == ["reset"]
    assert [attempt.saved for attempt in found.results] == [False, False]


def test_a_real_robot_has_no_verdict_and_time_to_reset_the_scene(services: Services) -> None:
    services.done = True
    found = attempts(services, simulated=False)
    assert sum(steps(found, 9)) == 8
    assert services.calls == ["start", "keep"]
    assert found.results[0].success is None
    assert steps(found, 3) == [False] * 3
    assert steps(found, 1) == [True]
    assert "reset" not in services.calls


def test_a_start_is_repeated_while_the_recorder_is_not_ready(services: Services) -> None:
    services.refused = {"start": 2}
    found = attempts(services)
    acted = steps(found, 15)
    assert services.calls == ["start", "start", "start"]
    assert acted.index(True) == 8
    services.refused = {"start": 1000}
    never = attempts(services)
    with pytest.raises(WaldoError, match="service start failed: start is not possible"):
        steps(never, 1000)


def test_a_success_with_holds_is_confirmed_to_the_recorder(services: Services) -> None:
    services.refused, services.done = {"save": 1}, True
    found = attempts(services, episodes=1)
    steps(found, 3)
    assert services.calls == ["start", "save", "save"]


def test_a_service_that_fails_ends_the_run(services: Services) -> None:
    services.refused = {"fail": 1}
    with pytest.raises(WaldoError, match="service fail failed: fail is not possible"):
        steps(attempts(services), 12)


@pytest.mark.parametrize(
    ("strategy", "person", "calls"),
    [
        ("episodic", False, ["start", "keep"]),
        ("dagger", False, ["start", "discard"]),
        ("dagger", True, ["start", "keep"]),
        ("none", False, []),
    ],
)
def test_an_interrupted_attempt_is_not_lost(
    services: Services, strategy: Strategy, person: bool, calls: list[str]
) -> None:
    found = attempts(services, strategy)
    steps(found, 3, person=False)
    steps(found, 2, person=person)
    found.close()
    found.close()
    assert services.calls == calls


@pytest.mark.parametrize(
    "options", [{"episodes": 0}, {"interventions": 0}, {"time_limit": 0.0}, {"reset_time": float("nan")}]
)
def test_values_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InvalidValueError):
        AttemptConfig(**options)  # type: ignore[arg-type]
