"""The scripted expert solves its tasks, with the same motion for the same seed."""

import dataclasses

import numpy as np
import pytest

from waldo.errors import InvalidValueError, UnsupportedOptionError
from waldo.sim.experts.expert import Expert, ExpertPolicy
from waldo.sim.tasks.goal import Goal
from waldo.sim.world import World


def run(task, seeds, *, noise_scale=1.0, prepare=None):
    """Return the fraction of worlds that reached their goal, and the commands of the first world."""
    world = World(task, worlds=len(seeds), threads=2)
    world.reset(seeds)
    if prepare:
        prepare(world)
    policy, done, commands = ExpertPolicy(world, noise_scale=noise_scale), np.zeros(len(seeds), dtype=bool), []
    for _ in range(round(world.task.horizon_s * 60)):
        targets = policy.act({})
        commands.append(targets[0])
        world.step(targets)
        done |= world.goal_reached()
        if done.all():
            break
    return done.mean(), np.array(commands)


@pytest.mark.parametrize(
    ("task", "minimum"), [("lift", 0.95), ("sort", 0.9), ("carry", 0.9), ("carry_dex3", 0.9), ("carry_inspire", 0.9)]
)
def test_it_solves_its_task(task, minimum):
    success, _ = run(task, range(300, 320))
    assert success >= minimum


def test_the_second_goal_starts_with_the_object_of_the_first_in_the_hand():
    """The cube in the hand is put down between the others; then the next one is lifted."""
    world = World("pick", worlds=12, threads=2)
    for number in range(2):
        if number:
            world.next_goal()
        policy, names = ExpertPolicy(world), world.environment_names
        policy.act({})
        experts = [Expert(world.task, seed=2 * i + number) for i in range(12)]
        for i, expert in enumerate(experts):
            expert.begin(world.position[i], dict(zip(names, world.environment()[i], strict=True)))
        targets, finished = world.position, np.zeros(12, dtype=bool)
        while not finished.all():
            for i, expert in enumerate(experts):
                command = expert.command(world.position[i], dict(zip(names, world.environment()[i], strict=True)))
                finished[i] |= command is None
                targets[i] = targets[i] if command is None else command
            world.step(targets, np.flatnonzero(~finished))
        assert world.goal_reached().all()
    held = (world.poses[:, :, 2] > 0.04).sum(axis=1)
    assert held.tolist() == [1] * 12


def test_some_first_grasps_miss_and_are_repeated():
    """A policy learns to repeat a grasp only from demonstrations in which it was repeated."""

    def openings(noise_scale):
        counts = []
        for seed in range(20):
            world, opened, shut = World("lift"), 0, False
            world.reset([seed])
            policy = ExpertPolicy(world, noise_scale=noise_scale)
            for _ in range(540):
                target = policy.act({})
                opened += bool(shut and target[0, 5] > 0.8)
                shut = target[0, 5] < 0.4 or (shut and target[0, 5] <= 0.8)
                world.step(target)
            counts.append(opened)
        return np.array(counts)

    exact, noisy = openings(0.0), openings(1.0)
    assert (exact == 1).all()  # the gripper starts shut
    assert 0.05 <= (noisy > 1).mean() <= 0.5


def test_the_same_seed_gives_the_same_motion():
    _, first = run("lift", [11])
    _, again = run("lift", [11])
    _, other = run("lift", [12])
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.allclose(first, other)


def test_a_noise_scale_of_zero_is_smooth():
    _, exact = run("lift", [3], noise_scale=0.0)
    _, noisy = run("lift", [3], noise_scale=1.0)
    assert np.abs(np.diff(exact, 3, axis=0)).mean() < 0.3 * np.abs(np.diff(noisy, 3, axis=0)).mean()


def test_commands_stay_within_limits_and_speeds():
    world = World("lift")
    _, commands = run("lift", [8])
    assert np.all(commands >= world.robot.lower)
    assert np.all(commands <= world.robot.upper)
    speed = np.abs(np.diff(commands, axis=0)).max(axis=0) * 60
    assert np.all(speed < [joint.velocity for joint in world.robot.joints])


@pytest.mark.parametrize(("shown_until", "tries"), [(0.0, 1), (5.0, 2)])
def test_it_retries_while_the_cube_is_on_the_table(shown_until, tries):
    """Until `shown_until` [s] the ground truth shows the cube at rest, as after a failed grasp."""
    world = World("lift")
    world.reset([21])
    expert, closings, was_open = Expert("lift", seed=21, noise_scale=0.0), 0, True
    names = world.environment_names

    def ground_truth():
        values = dict(zip(names, world.environment()[0], strict=True))
        if world.seconds[0] < shown_until:
            values |= dict(zip(names, first, strict=True))
        return values

    first = world.environment()[0]
    expert.begin(world.position[0], ground_truth())
    while (target := expert.command(world.position[0], ground_truth())) is not None:
        closings += bool(was_open and target[5] < 0.3)
        was_open = target[5] > 0.8 or (was_open and target[5] >= 0.3)
        world.step(target[None])
    assert closings == tries + 1  # the gripper starts nearly shut


def test_it_pursues_the_goal_of_the_world():
    goal = Goal(skill="put", object="green cube", target="right bin")
    success, _ = run("sort", [5, 6], prepare=lambda world: world.set_goal(None, goal))
    assert success == 1


@pytest.mark.parametrize(("task", "key", "offset"), [("lift", "red_cube.x", 0.5), ("carry", "box.x", 0.6)])
def test_it_gives_up_if_the_object_is_out_of_reach(task, key, offset):
    world = World(task)
    expert = Expert(task)
    environment = dict(zip(world.environment_names, world.environment()[0], strict=True))
    environment[key] += offset
    expert.begin(world.position[0], environment)
    assert expert.command(world.position[0], environment) is None
    assert " is out of reach: the nearest pose is " in expert.gave_up
    assert expert.gave_up.endswith(" mm away; use another seed")


def test_a_finished_expert_returns_no_command():
    expert = Expert("lift")
    assert expert.command(np.zeros(6), {}) is None


def test_a_robot_without_scripts_is_rejected():
    task = dataclasses.replace(World("lift").task, robot="so101_leader")
    with pytest.raises(UnsupportedOptionError) as error:
        Expert(task)
    expected = (
        "the scripted expert is not supported with the robot 'so101_leader' (supported: g1, g1_dex3, g1_inspire, so101)"
    )
    assert str(error.value) == expected


def test_the_goal_of_another_task_is_refused():
    expert = Expert("lift", noise_scale=0)
    world = World("pick")
    environment = dict(zip(world.environment_names, world.environment()[0], strict=True))
    environment |= {"goal.red_cube": 0.0, "goal.green_cube": 1.0}
    with pytest.raises(
        InvalidValueError, match="goal is 'green_cube', expected one of the task 'lift': red cube; name the"
    ):
        expert.begin(world.position[0], environment)
