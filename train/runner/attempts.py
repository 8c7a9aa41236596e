"""Attempts of a policy at a task, one after another: reset, record, act until success or the time is up, save."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from waldo.errors import InvalidValueError, WaldoError

CHECK_S = 0.1
"""Interval at which a simulation is asked whether the task is done [s]."""

RETRY_S, PATIENCE_S = 0.5, 15.0
"""Interval between two requests to start a recording, and the time after which a refusal ends the run [s]."""

type Strategy = Literal["none", "episodic", "dagger", "sentry"]
"""What is recorded: nothing; every attempt; the attempts in which a person took over; everything, in pieces."""


@dataclass(frozen=True, kw_only=True)
class AttemptConfig:
    """Options of a series of attempts."""

    episodes: int | None = None
    """Number of attempts; None: until the end."""
    time_limit: float = 30.0
    """Time limit of an attempt, or length of a piece with sentry [s]."""
    strategy: Strategy = "none"
    """What `waldo record`, which must run, stores: episodic: each attempt with its outcome; dagger: attempts in which a
    person took over; sentry: everything, in pieces; none: the operator decides."""
    interventions: int | None = None
    """End after this number of attempts in which a person took over."""
    reset_time: float = 10.0
    """Time between two attempts of a real robot, in which a person resets the scene [s]."""

    def __post_init__(self) -> None:
        """Reject values out of range."""
        for name in ("episodes", "interventions"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidValueError(name, value, "a number from 1")
        for name in ("time_limit", "reset_time"):
            if not 0 < getattr(self, name) < 86_400:
                raise InvalidValueError(name.replace("_", "-"), getattr(self, name), "seconds above 0")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Result of an attempt."""

    success: bool | None
    """Whether the task was done; None if only a person can judge."""
    seconds: float
    """Duration [s]."""
    person_s: float
    """Time in which a person controlled the robot [s]."""
    saved: bool
    """Whether it was recorded."""


@dataclass(slots=True)
class Attempts:
    """Runs the attempts; `step` is called in each control cycle."""

    config: AttemptConfig
    """The options."""
    call: Callable[[str], tuple[bool, str]]
    """Calls a service of the robot or the recorder; returns whether it succeeded, and its text."""
    simulated: bool
    """Whether the robot resets its own scene and knows whether the task is done."""
    on_attempt: Callable[[Attempt], None] = lambda attempt: None
    """Called with each result."""
    on_reset: Callable[[], None] = lambda: None
    """Called when a new attempt is prepared."""
    results: list[Attempt] = field(default_factory=list[Attempt])
    """The results so far."""
    _running: bool = False
    _elapsed_s: float = 0.0
    _person_s: float = 0.0
    _checked_s: float = 0.0
    _wait_s: float = 0.0
    _refused_s: float = 0.0
    _must_reset: bool = False

    @property
    def finished(self) -> bool:
        """Whether all attempts have ended."""
        config = self.config
        if config.interventions is not None and self.interventions >= config.interventions:
            return True
        return config.episodes is not None and len(self.results) >= config.episodes

    @property
    def interventions(self) -> int:
        """Number of attempts in which a person took over."""
        return sum(attempt.person_s > 0 for attempt in self.results)

    def step(self, dt_s: float, *, person: bool) -> bool:
        """Advance by a control cycle; return whether the policy may act in it.

        Args:
            dt_s: Length of the cycle [s].
            person: Whether a person controls the robot.
        """
        if self._running:
            self._elapsed_s += dt_s
            self._person_s += dt_s * person
            done = self._is_done()
            if done or self._elapsed_s >= self.config.time_limit:
                self._end(done)
            return self._running
        self._wait_s -= dt_s
        if self.finished or self._wait_s > 0:
            return False
        if self._must_reset:
            # The next state is the first one of the new scene.
            self._must_reset = False
            self._require("reset")
            return False
        return self._begin()

    def _is_done(self) -> bool:
        """Return whether a simulation has reached the goal; asked at intervals."""
        if not self.simulated or self.config.strategy == "sentry":
            return False
        if self._elapsed_s - self._checked_s < CHECK_S:
            return False
        self._checked_s = self._elapsed_s
        return self.call("task_done")[0]

    def _begin(self) -> bool:
        """Start an attempt; return False while the recorder does not receive every stream yet."""
        if self.config.strategy != "none":
            success, text = self.call("start")
            if not success:
                self._refused_s += RETRY_S
                if self._refused_s > PATIENCE_S:
                    raise WaldoError(f"the policy was stopped: service start failed: {text}")
                self._wait_s = RETRY_S
                return False
        self.on_reset()
        self._running = True
        self._elapsed_s = self._person_s = self._checked_s = self._refused_s = 0.0
        return True

    def _end(self, done: bool) -> None:
        """Save the attempt, or discard it, as the strategy demands."""
        self._running = False
        strategy = self.config.strategy
        keep = strategy in ("episodic", "sentry") or (strategy == "dagger" and self._person_s > 0)
        success = done if self.simulated and strategy != "sentry" else None
        if strategy != "none":
            self._save("discard" if not keep else {True: "save", False: "fail", None: "keep"}[success])
        attempt = Attempt(success=success, seconds=self._elapsed_s, person_s=self._person_s, saved=keep)
        self.results.append(attempt)
        self.on_attempt(attempt)
        self._must_reset = self.simulated and strategy != "sentry"
        self._wait_s = 0.0 if self.simulated or strategy == "sentry" else self.config.reset_time

    def close(self) -> None:
        """End an attempt that is still running; what was recorded of it is saved, as interrupted by the operator."""
        if self._running and self.config.strategy != "none":
            self.call("discard" if self.config.strategy == "dagger" and not self._person_s else "keep")
        self._running = False

    def _save(self, name: str) -> None:
        """Save or discard; the recorder asks again before it saves an attempt with holds as a success."""
        if name != "save" or not self.call(name)[0]:
            self._require(name)

    def _require(self, name: str) -> None:
        success, text = self.call(name)
        if not success:
            raise WaldoError(f"the policy was stopped: service {name} failed: {text}")
