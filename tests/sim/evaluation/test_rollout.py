"""The control loop: rates and callbacks, and the same results as recorded for evaluation and subtasks."""

import json
from pathlib import Path

import numpy as np
import pytest

from waldo.errors import InvalidValueError
from waldo.sim.evaluation.evaluate import evaluate
from waldo.sim.evaluation.results import EvalConfig
from waldo.sim.evaluation.rollout import rollout, ticks_per_action
from waldo.sim.tasks.goal import Goal
from waldo.train.runner.subtask_runner import RunConfig, run_instruction

RECORDED = json.loads(Path(__file__).with_name("replay.json").read_text())
"""Results of replaying `replay.npz`, recorded before evaluation and runner shared a loop; temperatures and heat are
those of the motor library's present constants."""
COMMANDS = np.load(Path(__file__).with_name("replay.npz"))
"""Position targets (ticks, worlds, joints) [rad] of scripted experts."""


class Replay:
    """Repeats recorded position targets."""

    fps = 60.0
    image_keys: tuple[str, ...] = ()

    def __init__(self, commands):
        self.commands, self.tick = commands, -1

    def reset(self, which=None):
        pass

    def act(self, observation):
        self.tick = min(self.tick + 1, len(self.commands) - 1)
        return self.commands[self.tick].astype(float)


class Counter:
    """Counts its observations and returns the count as the target."""

    fps = 20.0
    image_keys = ("observation.images.front",)

    def __init__(self):
        self.resets = self.count = 0

    def reset(self, which=None):
        self.resets += 1

    def act(self, observation):
        self.count += 1
        return np.array([[self.count]])


def test_an_action_is_held_until_the_next_one_and_the_callback_ends_the_loop():
    policy, keys, applied, ticks = Counter(), [], [], []

    def on_tick(tick):
        ticks.append(tick)
        return tick < 7

    count = rollout(
        policy,
        observe=lambda image_keys: keys.append(image_keys) or {},
        act=lambda targets: applied.append(targets.item()),
        on_tick=on_tick,
        rate_hz=60,
    )
    assert count == 7
    assert ticks == [1, 2, 3, 4, 5, 6, 7]
    assert applied == [1, 1, 1, 2, 2, 2, 3]
    assert keys == [policy.image_keys] * 3
    assert policy.resets == 1


def test_the_rate_of_a_policy_divides_the_control_rate():
    assert [ticks_per_action(fps) for fps in (60.0, 30.0, 7.5)] == [1, 2, 8]
    with pytest.raises(InvalidValueError) as error:
        ticks_per_action(25.0, 50.1)
    assert str(error.value) == "fps is 25.0, expected a divisor of the control rate 50.1"


# Processors round transcendental functions of the physics differently in the last bits.
close = pytest.approx


def test_an_evaluation_gives_the_recorded_results():
    config = EvalConfig(task="lift", episodes=3, horizon_s=4.0, threads=1, videos=0)
    found, recorded = evaluate(Replay(COMMANDS["lift"]), config), RECORDED["evaluation"]
    assert (found.success, found.seconds) == (recorded["success"], recorded["seconds"])
    for name in ("max_winding_c", "joules", "equivalent_torque_nm"):
        assert [getattr(motor, name) for motor in found.motors] == close(recorded[name], rel=1e-6)
    assert found.series.mean_winding_c[-1] == close(recorded["last_mean_winding_c"], rel=1e-6)


def test_an_evaluation_in_batches_gives_the_recorded_results():
    config = EvalConfig(task="lift", episodes=3, worlds=2, horizon_s=4.0, threads=1, videos=0)
    found, recorded = evaluate(Replay(COMMANDS["lift"][:, :2]), config), RECORDED["batches_of_two"]
    assert (found.success, found.seconds) == (recorded["success"], recorded["seconds"])


def test_subtasks_give_the_recorded_results():
    plan = [Goal("put", "red cube", "left bin"), Goal("lift", "blue cube")]
    config = RunConfig(task="sort", episodes=2, threads=1)
    found, recorded = run_instruction(Replay(COMMANDS["sort"]), "both", lambda scene: plan, config), RECORDED["run"]
    subtasks = [
        [{"goal": s.goal, "reached": s.reached, "seconds": s.seconds} for s in steps] for steps in found.subtasks
    ]
    assert subtasks == recorded["subtasks"]
    assert found.max_winding_c == close(recorded["max_winding_c"], rel=1e-6)


def test_progress_is_reported_to_the_end():
    config = EvalConfig(task="lift", episodes=3, worlds=2, horizon_s=4.0, threads=1, videos=0)
    reports = []
    evaluate(Replay(COMMANDS["lift"][:, :2]), config, advance=lambda *report: reports.append(report))
    done = [report[0] for report in reports]
    assert done == sorted(done)
    assert reports[-1] == (480, 480, "2 of 3 episodes succeeded")
