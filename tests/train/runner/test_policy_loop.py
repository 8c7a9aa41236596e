"""The policy loop with time passed in: each doubt ends in a cycle without targets, with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from waldo.errors import ConfigError
from waldo.robots.control.arbiter import Source
from waldo.robots.description import Robot
from waldo.train.policies.rtc import DELAY, PREFIX
from waldo.train.runner.inference import Answer, Question
from waldo.train.runner.policy_loop import IGNORED_S, REPORTED, RETRY_S, LoopConfig, PolicyLoop, RobotView, Step

S = 1_000_000_000
START_NS = 1_700_000_000 * S
FPS = 20.0
RATE = 50
DT = 1 / RATE
FRONT = "observation.images.front"
WAITING = "waiting for the policy's first actions"


class FakeAsker:
    """Keeps questions until the test answers them."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.answers: list[Answer] = []
        self.open = 0
        self.error = ""

    @property
    def is_busy(self) -> bool:
        return self.open > 0

    def ask(self, question: Question) -> None:
        assert not self.is_busy
        self.questions.append(question)
        self.open += 1

    def answer(self) -> Answer | None:
        if not self.answers:
            return None
        self.open -= 1
        return self.answers.pop(0)

    def reply(self, actions: np.ndarray | None, error: str = "", seconds: float = 0.1) -> None:
        """Answer the last question."""
        self.answers.append(Answer(number=self.questions[-1].number, actions=actions, error=error, seconds=seconds))


class Bench:
    """A loop, a robot that follows it, and a clock."""

    def __init__(
        self,
        robot: Robot,
        config: LoopConfig | None = None,
        *,
        cameras: tuple[str, ...] = (FRONT,),
        rtc: bool = False,
    ) -> None:
        self.asker = FakeAsker()
        self.observations: list[tuple[list[float], dict[str, Any], str]] = []
        self.loop = PolicyLoop(
            robot,
            self.asker,
            self._build,
            fps=FPS,
            replan_s=0.5,
            cameras=cameras,
            rtc=rtc,
            config=config or LoopConfig(),
        )
        self.view = RobotView(task=("lift the cube", None), position=np.zeros(2))
        self.now_ns = START_NS
        self.cameras = cameras
        self.state_runs = self.camera_runs = self.answers_at_once = True
        self.steps: list[Step] = []
        self.actions: Callable[[], np.ndarray] = lambda: self.ramp(0.4)

    def _build(self, position: np.ndarray, images: Mapping[str, Any], task: str) -> dict[str, Any]:
        self.observations.append((position.tolist(), dict(images), task))
        return {}

    def ramp(self, speed: float, actions: int = 41) -> np.ndarray:
        """Return a chunk that moves both joints at a constant speed from where the robot is [rad/s]."""
        return self.view.position + speed * np.arange(actions)[:, None] / FPS

    def _add_state(self) -> None:
        self.view.add_state(self.now_ns - 8_000_000, self.view.position)

    def step(self, cycles: int = 1) -> Step:
        """Run cycles; return the last step."""
        for _ in range(cycles):
            self.now_ns += S // RATE
            if self.state_runs:
                self._add_state()
            if self.camera_runs:
                self.view.images |= {
                    key: (self.now_ns - 20_000_000, f"image {len(self.steps)}") for key in self.cameras
                }
            step = self.loop.step(self.view, self.now_ns, DT)
            self.steps.append(step)
            if step.targets is not None:
                self.view.position, self.view.control = step.targets, Source.POLICY
            elif step.release and self.view.control is Source.POLICY:
                self.view.control = Source.HOLD
            if self.answers_at_once and self.asker.is_busy and not self.asker.answers:
                self.asker.reply(self.actions())
        return self.steps[-1]

    @property
    def targets(self) -> list[bool]:
        return [step.targets is not None for step in self.steps]


@pytest.fixture
def bench(toy_robot: Robot) -> Bench:
    """A loop that commands the robot and has no open question."""
    bench = Bench(toy_robot)
    bench.step(10)
    assert bench.targets == [False] + [True] * 9
    bench.steps.clear()
    return bench


def assert_held(bench: Bench, reason: str) -> None:
    """Assert that the next cycle holds, the cycle after it too, and that only the first one releases."""
    step = bench.step()
    assert step.targets is None
    assert (step.reason, step.release) == (reason, True)
    assert not bench.loop.player.has_chunk
    step = bench.step()
    assert (step.targets, step.release) == (None, False)


def assert_looks_again(bench: Bench, asked: int) -> None:
    """Assert that the robot is commanded again only after a new question was answered."""
    while (step := bench.step()).targets is None:
        assert (step.release, step.reason) == (False, WAITING)
    assert len(bench.asker.questions) == asked + 1


def test_the_robot_is_commanded_once_the_first_answer_has_arrived(toy_robot: Robot) -> None:
    bench = Bench(toy_robot)
    bench.answers_at_once = False
    for _ in range(5):
        step = bench.step()
        assert (step.targets, step.reason, step.release) == (None, WAITING, False)
    assert [question.number for question in bench.asker.questions] == [1]
    bench.asker.reply(bench.ramp(0.4))
    step = bench.step()
    assert step.targets is not None
    assert (step.reason, step.release) == ("", False)
    # The robot stood still meanwhile: no action was skipped.
    assert bench.loop.player.time_s == DT
    np.testing.assert_allclose(step.targets, [0.0, 0.0], atol=0.4 * DT)


def test_the_policy_looks_at_the_present_state_images_and_instruction(toy_robot: Robot) -> None:
    bench = Bench(toy_robot)
    bench.view.position = np.array([0.3, -0.1])
    bench.step()
    bench.view.position = np.array([0.9, 0.9])
    bench.asker.questions[0].build()
    assert bench.observations == [([0.3, -0.1], {FRONT: "image 0"}, "lift the cube")]


def test_the_robot_follows_the_path_of_the_policy(bench: Bench) -> None:
    bench.step(60)
    path = np.array([step.targets for step in bench.steps])
    np.testing.assert_allclose(np.diff(path, axis=0), 0.4 * DT, atol=2e-3)


# faults


def test_without_a_state_nothing_is_commanded(toy_robot: Robot) -> None:
    bench = Bench(toy_robot)
    bench.state_runs = False
    step = bench.step()
    assert (step.targets, step.reason, step.release) == (None, "no joint_states received", False)
    assert not bench.asker.questions


def test_a_stale_state_holds(bench: Bench) -> None:
    bench.state_runs = False
    bench.step(4)
    assert bench.targets == [True] * 4
    assert_held(bench, "the robot's state is 0.11 s old, limit 0.1 s")
    asked, bench.state_runs = len(bench.asker.questions), True
    assert_looks_again(bench, asked)


def test_a_state_from_the_future_holds(bench: Bench) -> None:
    """Its age could not be judged: a clock that is ahead would hide that the state is old."""
    bench.state_runs = False
    bench.view.state_ns = bench.now_ns + S
    assert_held(bench, "the robot's state is 0.98 s in the future; check whether a clock was set back")


def test_a_stale_image_holds(bench: Bench) -> None:
    bench.camera_runs = False
    bench.step(14)
    assert bench.targets == [True] * 14
    assert_held(bench, "the image of camera front is 0.32 s old, limit 0.3 s")
    asked, bench.camera_runs = len(bench.asker.questions), True
    assert_looks_again(bench, asked)


def test_an_image_from_the_future_holds(bench: Bench) -> None:
    bench.camera_runs = False
    bench.view.images[FRONT] = (bench.now_ns + S, "image")
    assert_held(bench, "the image of camera front is 0.98 s in the future; check whether a clock was set back")


def test_a_missing_image_holds(bench: Bench) -> None:
    bench.camera_runs = False
    bench.view.images.clear()
    assert_held(bench, "no image of camera front received")


def test_a_policy_without_cameras_needs_no_image(toy_robot: Robot) -> None:
    bench = Bench(toy_robot, cameras=())
    bench.step(10)
    assert bench.targets == [False] + [True] * 9


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_state_that_is_not_finite_holds(bench: Bench, value: float) -> None:
    bench.view.position = np.array([0.1, value])
    assert_held(bench, "the robot's state is not finite")
    bench.view.position = np.zeros(2)
    assert_looks_again(bench, len(bench.asker.questions))


def test_without_an_instruction_the_robot_holds(bench: Bench) -> None:
    bench.view.task = ("", None)
    assert_held(bench, "no instruction; pass --task")


def test_a_server_that_cannot_be_reached_holds(bench: Bench) -> None:
    bench.asker.error = "ws://gpu:8000: connection refused"
    assert_held(bench, "ws://gpu:8000: connection refused")
    asked, bench.asker.error = len(bench.asker.questions), ""
    assert_looks_again(bench, asked)


def test_an_answer_with_an_error_holds_and_is_asked_again_after_a_time(bench: Bench) -> None:
    bench.answers_at_once = False
    while not bench.asker.is_busy:
        bench.step()
    bench.asker.reply(None, "action 3 of the policy is not finite")
    asked = len(bench.asker.questions)
    assert_held(bench, "action 3 of the policy is not finite")
    cycles = 2
    while len(bench.asker.questions) == asked:
        assert bench.step().reason == "action 3 of the policy is not finite"
        cycles += 1
    assert cycles == pytest.approx(RETRY_S / DT, abs=2)
    bench.answers_at_once = True
    bench.asker.reply(bench.ramp(0.1))
    assert bench.step().targets is not None


@pytest.mark.parametrize("width", [1, 3])
def test_actions_of_another_number_of_joints_hold(bench: Bench, width: int) -> None:
    bench.answers_at_once = False
    while not bench.asker.is_busy:
        bench.step()
    bench.asker.reply(np.zeros((5, width)))
    assert_held(bench, f"the policy commands {width} joints, the robot has 2")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_actions_that_are_not_finite_hold(bench: Bench, value: float) -> None:
    """The client refuses them already; the loop does not depend on that."""
    bench.answers_at_once = False
    while not bench.asker.is_busy:
        bench.step()
    actions = bench.ramp(0.1)
    actions[3, 1] = value
    bench.asker.reply(actions)
    assert_held(bench, "the policy's actions are not finite")


def test_no_answer_in_time_holds(bench: Bench) -> None:
    bench.answers_at_once = False
    observed = bench.loop._chunk_observed_ns
    while bench.step().targets is not None:
        assert bench.now_ns - observed <= 2 * S
    step = bench.steps[-1]
    assert (step.reason, step.release) == (
        "the last actions answer an observation 2.02 s old (the policy is too slow)",
        True,
    )
    assert not bench.loop.player.has_chunk
    assert bench.step().reason == WAITING
    # The late answer is that to a question which no longer matters.
    bench.asker.reply(bench.ramp(0.4))
    assert (bench.step().targets, bench.loop.player.has_chunk) == (None, False)
    assert len(bench.asker.questions) == 3


def test_a_chunk_that_ends_keeps_its_last_action_until_it_is_too_old(toy_robot: Robot) -> None:
    bench = Bench(toy_robot)
    bench.actions = lambda: bench.ramp(0.4, 5)
    bench.step(2)
    bench.answers_at_once = False
    bench.step(60)
    assert all(bench.targets[1:])
    np.testing.assert_allclose(bench.view.position, [0.08, 0.08], atol=1e-9)
    bench.step(60)
    assert not bench.targets[-1]


def test_a_target_far_away_holds(bench: Bench) -> None:
    bench.answers_at_once = False
    while not bench.asker.is_busy:
        bench.step()
    bench.asker.reply(bench.ramp(0.0) + np.array([0.0, 2.5]))
    for _ in range(20):
        if (step := bench.step()).targets is None:
            break
    name, distance = step.reason.removeprefix("the policy's target for ").split(" is ")
    assert name == "b"
    assert 0.8 < float(distance.split()[0]) < 1.5
    assert distance.endswith(" from the robot, limit 0.8")
    assert step.release
    assert not bench.loop.player.has_chunk


def test_the_first_target_of_a_robot_that_stands_still_may_be_at_most_the_distance_away(toy_robot: Robot) -> None:
    bench = Bench(toy_robot)
    bench.actions = lambda: np.array([[0.0, 0.81]] * 5)
    bench.step()
    step = bench.step()
    reason = "the policy's target for b is 0.81 from the robot, limit 0.8"
    assert (step.targets, step.reason, step.release) == (None, reason, False)
    bench = Bench(toy_robot)
    bench.actions = lambda: np.array([[0.0, 0.8]] * 5)
    assert bench.step(2).targets is not None


# another question


@pytest.mark.parametrize("task", [("push the cube", None), ("lift the cube", 7)], ids=["instruction", "scene"])
def test_another_instruction_or_scene_drops_the_chunk_and_the_answer_to_the_old_question(
    bench: Bench, task: tuple[str, object]
) -> None:
    bench.answers_at_once = False
    while not bench.asker.is_busy:
        bench.step()
    asked = len(bench.asker.questions)
    bench.view.task = task
    assert_held(bench, WAITING)
    bench.asker.reply(bench.ramp(0.4))
    step = bench.step()
    assert (step.targets, step.reason) == (None, WAITING)
    assert len(bench.asker.questions) == asked + 1
    bench.asker.questions[-1].build()
    assert bench.observations[-1][2] == task[0]
    bench.asker.reply(bench.ramp(0.4))
    assert bench.step().targets is not None


# a person


def test_while_a_person_controls_the_robot_nothing_is_published(bench: Bench) -> None:
    asked = len(bench.asker.questions)
    bench.view.control = Source.PERSON
    bench.step(60)
    assert {(step.targets, step.reason, step.release) for step in bench.steps} == {
        (None, "a person controls the robot", False)
    }
    assert len(bench.asker.questions) == asked
    bench.view.position, bench.view.control = np.array([-0.5, 0.5]), Source.HOLD
    assert_looks_again(bench, asked)
    np.testing.assert_allclose(bench.steps[-1].targets, [-0.5, 0.5], atol=0.02)


def test_an_answer_to_a_question_before_a_person_took_over_is_dropped(bench: Bench) -> None:
    bench.answers_at_once = False
    while not bench.asker.is_busy:
        bench.step()
    bench.view.control = Source.PERSON
    bench.step()
    bench.view.control = Source.HOLD
    bench.asker.reply(bench.ramp(0.4))
    step = bench.step()
    assert (step.targets, step.reason) == (None, WAITING)
    assert bench.asker.questions[-1].number == 3


# a robot that does not follow


@pytest.mark.parametrize("reason", ["", "stopped by the operator"])
def test_a_robot_that_ignores_its_commands_is_looked_at_again(bench: Bench, reason: str) -> None:
    """A robot that is enabled later must not be sent on with the chunk of before."""
    bench.view.hold_reason, position = reason, bench.view.position
    while True:
        bench.view.control, bench.view.position = Source.HOLD, position
        if (step := bench.step()).targets is None:
            break
    assert len(bench.steps) in (IGNORED_S / DT, IGNORED_S / DT + 1)
    assert (step.reason, step.release) == (reason or "the robot does not follow", True)
    assert not bench.loop.player.has_chunk
    bench.view.control = Source.HOLD
    assert_looks_again(bench, len(bench.asker.questions))
    np.testing.assert_allclose(bench.steps[-1].targets, position, atol=0.4 * DT)


def test_a_robot_that_holds_for_a_moment_only_is_not_looked_at_again(bench: Bench) -> None:
    for _ in range(4):
        for _ in range(20):
            bench.view.control = Source.HOLD
            bench.step()
        bench.step()
    assert all(bench.targets)


def test_a_policy_that_commands_again_starts_from_rest_where_the_robot_is(bench: Bench, toy_robot: Robot) -> None:
    bench.view.task = ("", None)
    bench.step(3)
    bench.view.task, bench.view.position = ("lift the cube", None), np.array([0.5, -0.5])
    bench.actions = lambda: np.array([[0.9, -0.9]] * 5)
    while (step := bench.step()).targets is None:
        pass
    np.testing.assert_allclose(step.targets, [0.5 + 60 * DT**2, -0.5 - 60 * DT**2], atol=1e-12)


def test_each_hold_releases_once(bench: Bench) -> None:
    for _ in range(3):
        bench.view.task = ("", None)
        bench.step(20)
        bench.view.task = ("lift the cube", None)
        bench.step(20)
    assert sum(step.release for step in bench.steps) == 3
    assert [step.reason for step in bench.steps if step.release] == ["no instruction; pass --task"] * 3


# the pace


def test_a_slow_inference_delays_no_command(bench: Bench) -> None:
    bench.answers_at_once, asked = False, 0
    for cycle in range(300):
        questions = len(bench.asker.questions)
        bench.step()
        if len(bench.asker.questions) > questions:
            asked = cycle
        elif cycle == asked + 40 and bench.asker.is_busy:
            bench.asker.reply(bench.ramp(0.1))
    assert bench.targets == [True] * 300
    assert bench.loop.player.chunks > 6


def test_only_one_question_waits(bench: Bench) -> None:
    bench.answers_at_once = False
    bench.step(80)
    assert len(bench.asker.questions) == 2


@pytest.mark.parametrize(("config", "interval_s"), [(LoopConfig(), 0.5), (LoopConfig(replan=0.2), 0.2)])
@pytest.mark.parametrize("speed_ratio", [1.0, 0.5])
def test_the_policy_looks_at_an_interval_of_its_own_time(
    toy_robot: Robot, config: LoopConfig, interval_s: float, speed_ratio: float
) -> None:
    bench = Bench(toy_robot, config)
    bench.view.speed_ratio = speed_ratio
    asked: list[int] = []
    for cycle in range(200):
        before = len(bench.asker.questions)
        bench.step()
        asked += [cycle] * (len(bench.asker.questions) - before)
    assert len(asked) > 3
    np.testing.assert_allclose(np.diff(asked)[1:], interval_s / DT / speed_ratio, atol=1)


def test_the_actions_before_the_answer_are_skipped(bench: Bench) -> None:
    """The age counts from the observation, at the policy's own pace."""
    bench.answers_at_once = False
    while not bench.asker.is_busy:
        bench.step()
    asked_s = bench.loop.player.time_s - DT
    bench.step(15)
    bench.asker.reply(bench.ramp(0.1))
    bench.step()
    assert bench.loop.player.age_s == pytest.approx(bench.loop.player.time_s - asked_s + 0.02)
    assert bench.loop.player.age_s == pytest.approx(18 * DT)


# what is stated


def test_the_values_of_a_command_are_stated(toy_robot: Robot) -> None:
    bench = Bench(toy_robot)
    bench.view.speed_ratio = 0.5

    def values() -> dict[str, float]:
        return dict(zip(REPORTED, bench.steps[-1].values, strict=True))

    bench.answers_at_once = False
    bench.step()
    nan = math.nan
    expected = {"inference_s": nan, "chunk": 0.0, "jump_position": nan, "jump_velocity": nan, "speed_ratio": 0.5}
    np.testing.assert_equal(values(), {"observation_age_s": 0.02, "action_age_s": nan, **expected})
    bench.step(4)
    bench.asker.reply(np.zeros((41, 2)), seconds=0.08)
    bench.step()
    expected |= {"inference_s": 0.08, "chunk": 1.0}
    # The oldest part of the observation was 0.02 s old when the policy looked, five cycles ago.
    np.testing.assert_equal(values(), {"observation_age_s": 0.02, "action_age_s": 0.12, **expected})
    while len(bench.asker.questions) == 1:
        bench.step()
    bench.asker.reply(np.full((41, 2), 0.25), seconds=0.06)
    bench.camera_runs = False
    bench.step()
    expected |= {"inference_s": 0.06, "chunk": 2.0, "jump_position": 0.25, "jump_velocity": 0.0}
    np.testing.assert_equal(values(), {"observation_age_s": 0.04, "action_age_s": 0.04, **expected})
    bench.view.task = ("", None)
    bench.step()
    assert math.isnan(values()["action_age_s"])


def test_before_the_first_state_the_age_of_an_observation_is_unknown(toy_robot: Robot) -> None:
    bench = Bench(toy_robot)
    bench.state_runs = bench.camera_runs = False
    assert math.isnan(bench.step().values[REPORTED.index("observation_age_s")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 4.0}, "rate is 4.0, expected 5 to 1000 commands per second"),
        ({"rate": math.nan}, "rate is nan, expected 5 to 1000 commands per second"),
        ({"max_state_age": 0.0}, "max-state-age is 0.0, expected a number above 0 and below 60"),
        ({"max_image_age": -1.0}, "max-image-age is -1.0, expected a number above 0 and below 60"),
        ({"max_action_age": math.inf}, "max-action-age is inf, expected a number above 0 and below 60"),
        ({"max_distance": math.nan}, "max-distance is nan, expected a number above 0 and below 60"),
        ({"replan": 0.0}, "replan is 0.0, expected seconds above 0 and below 60"),
        ({"blend": 2.5}, "blend is 2.5, expected 0 to 2 seconds"),
        ({"blend": math.nan}, "blend is nan, expected 0 to 2 seconds"),
    ],
)
def test_a_guard_cannot_be_switched_off_by_configuration(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LoopConfig(**options)
    assert str(caught.value) == message


def test_the_longest_age_is_configurable(toy_robot: Robot) -> None:
    bench = Bench(toy_robot, LoopConfig(max_state_age=0.5, max_image_age=1.0))
    bench.step(5)
    bench.state_runs = bench.camera_runs = False
    bench.step(24)
    assert bench.steps[-1].targets is not None
    assert bench.step().reason == "the robot's state is 0.51 s old, limit 0.5 s"


def test_every_reason_is_that_of_a_step_without_targets(bench: Bench) -> None:
    bench.step(10)
    bench.view = replace(bench.view, task=("", None))
    bench.step(10)
    assert all((step.targets is None) == bool(step.reason) for step in bench.steps)


# real-time chunking


def test_a_question_contains_the_actions_that_are_carried_out_meanwhile(toy_robot: Robot) -> None:
    bench = Bench(toy_robot, rtc=True)
    bench.step(10)
    first = bench.asker.questions[0].build()
    bench.step(30)
    assert bench.targets.count(False) == 1
    assert set(first) == set()
    second = bench.asker.questions[1].build()
    # The ramp starts where the robot was in the first cycle, at the time of the image; the look is 0.5 s later.
    prefix, at = second[PREFIX], bench.loop.config.replan or 0.5
    assert prefix.dtype == np.float32
    np.testing.assert_allclose(np.diff(prefix, axis=0), 0.4 / FPS, atol=1e-5)
    np.testing.assert_allclose(prefix[0], 0.4 * at, atol=0.4 * 3 / RATE)
    np.testing.assert_allclose(prefix[-1], 0.4 * 40 / FPS, atol=0.4 / FPS)
    # The image is 20 ms old and the inference took 100 ms: at 20 Hz the third action is the next one.
    assert second[DELAY] == math.ceil((0.02 + 0.1) * FPS)


def test_the_slowest_of_the_last_inferences_is_expected(toy_robot: Robot) -> None:
    bench = Bench(toy_robot, rtc=True)
    bench.answers_at_once = False
    for seconds in (0.3, 0.1):
        bench.step(2)
        bench.asker.reply(bench.actions(), seconds=seconds)
        bench.step(30)
    assert bench.asker.questions[-1].build()[DELAY] == math.ceil((0.02 + 0.3) * FPS)


@pytest.mark.parametrize(("rtc", "option"), [(False, True), (True, False)])
def test_actions_are_not_continued_without_support_or_if_it_is_turned_off(
    toy_robot: Robot, rtc: bool, option: bool
) -> None:
    bench = Bench(toy_robot, LoopConfig(rtc=option), rtc=rtc)
    bench.step(60)
    assert len(bench.asker.questions) > 1
    assert all(question.build() == {} for question in bench.asker.questions)


def test_nothing_is_continued_after_a_person_s_commands(toy_robot: Robot) -> None:
    bench = Bench(toy_robot, rtc=True)
    bench.step(40)
    bench.view.control = Source.PERSON
    bench.step(5)
    bench.view.control = Source.HOLD
    asked = len(bench.asker.questions)
    bench.step(2)
    assert bench.asker.questions[asked].build() == {}
