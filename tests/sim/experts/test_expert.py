"""The scripted operator does its tasks, the same way for the same seed."""

import numpy as np
import pytest

from waldo.sim.experts.expert import Expert, ExpertPolicy
from waldo.sim.tasks.goal import Goal
from waldo.sim.world import World


def run(task, seeds, *, human=1.0, prepare=None):
    """Return the share of worlds whose goal was reached and every command of the first."""
    world = World(task, worlds=len(seeds), threads=2)
    world.reset(seeds)
    if prepare:
        prepare(world)
    policy, done, commands = ExpertPolicy(world, human=human), np.zeros(len(seeds), dtype=bool), []
    for _ in range(round(world.task.horizon_s * 60)):
        targets = policy.act({})
        commands.append(targets[0])
        world.step(targets)
        done |= world.goal_reached()
        if done.all():
            break
    return done.mean(), np.array(commands)


@pytest.mark.parametrize(("task", "least"), [("lift", 0.95), ("sort", 0.9), ("carry", 0.9)])
def test_it_does_its_task(task, least):
    share, _ = run(task, range(300, 320))
    assert share >= least


def test_the_same_seed_gives_the_same_motion():
    _, first = run("lift", [11])
    _, again = run("lift", [11])
    _, other = run("lift", [12])
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.allclose(first, other)


def test_a_machine_does_not_tremble():
    _, exact = run("lift", [3], human=0.0)
    _, human = run("lift", [3], human=1.0)
    assert np.abs(np.diff(exact, 3, axis=0)).mean() < 0.3 * np.abs(np.diff(human, 3, axis=0)).mean()


def test_commands_stay_within_limits_and_speeds():
    world = World("lift")
    _, commands = run("lift", [8])
    assert np.all(commands >= world.robot.lower)
    assert np.all(commands <= world.robot.upper)
    speed = np.abs(np.diff(commands, axis=0)).max(axis=0) * 60
    assert np.all(speed < [joint.velocity for joint in world.robot.joints])


@pytest.mark.parametrize(("seen_until", "tries"), [(0.0, 1), (5.0, 2)])
def test_it_tries_again_while_the_cube_is_seen_on_the_table(seen_until, tries):
    """Until `seen_until` [s] the cube is shown at rest, so that the first lift looks like a failure."""
    world = World("lift")
    world.reset([21])
    expert, closings, was_open = Expert("lift", seed=21, human=0.0), 0, True
    names = world.environment_names

    def look():
        values = dict(zip(names, world.environment()[0], strict=True))
        if world.seconds[0] < seen_until:
            values |= dict(zip(names, first, strict=True))
        return values

    first = world.environment()[0]
    expert.begin(world.position[0], look())
    while (target := expert.command(world.position[0], look())) is not None:
        closings += bool(was_open and target[5] < 0.3)
        was_open = target[5] > 0.8 or (was_open and target[5] >= 0.3)
        world.step(target[None])
    assert closings == tries + 1  # the gripper starts nearly shut


def test_it_follows_the_goal_that_it_is_given():
    goal = Goal(skill="put", object="green cube", target="right bin")
    share, _ = run("sort", [5, 6], prepare=lambda world: world.set_goal(None, goal))
    assert share == 1


@pytest.mark.parametrize(("task", "key", "offset"), [("lift", "red_cube.x", 0.5), ("carry", "box.x", 0.6)])
def test_it_gives_up_what_is_out_of_reach(task, key, offset):
    world = World(task)
    expert = Expert(task)
    environment = dict(zip(world.environment_names, world.environment()[0], strict=True))
    environment[key] += offset
    expert.begin(world.position[0], environment)
    assert expert.command(world.position[0], environment) is None
    assert " cannot be reached: the nearest pose is " in expert.gave_up
    assert expert.gave_up.endswith(" mm off; use another seed")


def test_a_finished_expert_says_so():
    expert = Expert("lift")
    assert expert.command(np.zeros(6), {}) is None
