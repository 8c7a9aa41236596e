"""Worlds: layouts by seed, the effect of commands, and independence of the other worlds."""

import dataclasses

import numpy as np
import pytest

from waldo.errors import InvalidValueError, UnknownNameError, UnsupportedOptionError
from waldo.robots.description import load_robot
from waldo.robots.thermal.two_node import Load
from waldo.sim.tasks.goal import Goal
from waldo.sim.tasks.tabletop import LIFT_PHRASES, PICK
from waldo.sim.tasks.task import load_task, task_names
from waldo.sim.world import World


def drive(world, ticks=30):
    """Move every world by the same commands and return all readings."""
    rng = np.random.default_rng(5)
    for _ in range(ticks):
        world.step(world.robot.home + rng.normal(0, 0.1, len(world.robot.joints)) * np.ones((world.worlds, 1)))
    return world.position, world.velocity, world.effort, world.environment(), world.heat, world.current


@pytest.mark.parametrize("task", task_names())
def test_a_world_is_bit_identical_alone_and_among_others(task):
    alone, many = World(task, worlds=1, threads=1), World(task, worlds=5, threads=2)
    alone.reset([42])
    many.reset([7, 8, 42, 9, 10])
    for one, several in zip(drive(alone), drive(many), strict=True):
        np.testing.assert_array_equal(one[0], several[2])


def test_a_reset_is_reproducible_and_does_not_affect_other_worlds():
    world = World("lift", worlds=3, threads=1)
    world.reset([1, 2, 3])
    first = world.environment()
    drive(world)
    moved = world.position[0].copy()
    world.reset([2], which=[1])
    np.testing.assert_array_equal(world.environment()[1], first[1])
    np.testing.assert_array_equal(world.position[0], moved)
    assert world.seeds.tolist() == [1, 2, 3]
    assert world.seconds.tolist() == [0.5, 0.0, 0.5]


def test_the_order_of_a_reset_does_not_matter():
    world = World("lift", worlds=3, threads=1)
    world.reset([1, 2, 3])
    first = world.environment()
    world.reset([3, 1], which=[2, 0])
    np.testing.assert_array_equal(world.environment(), first)


def test_worlds_that_are_not_stepped_stand_still():
    some, all_of_them = World("lift", worlds=3, threads=1), World("lift", worlds=3, threads=1)
    target = np.tile(some.robot.home + 0.2, (3, 1))
    start = some.position[1].copy()
    for _ in range(20):
        some.step(target, np.array([0, 2]))
        all_of_them.step(target)
    np.testing.assert_array_equal(some.position[[0, 2]], all_of_them.position[[0, 2]])
    np.testing.assert_array_equal(some.heat[[0, 2]], all_of_them.heat[[0, 2]])
    np.testing.assert_array_equal(some.duty.joules[[0, 2]], all_of_them.duty.joules[[0, 2]])
    np.testing.assert_array_equal(some.position[1], start)
    np.testing.assert_array_equal(some.heat[1], np.full((6, 2), 25.0))
    assert some.ticks.tolist() == [20, 0, 20]


@pytest.mark.parametrize("count", range(1, 10))
def test_heat_is_independent_of_the_worlds_that_step_together(count):
    """The last bit of a BLAS product depends on the array's size; sums over ticks must not."""
    torques = np.random.default_rng(1).normal(0, 1, (100, 9, 6))
    every, some = World("lift", worlds=9, threads=1).motors, World("lift", worlds=count, threads=1).motors
    for torque in torques:
        every.add(torque)
        some.add(torque[:count])
    np.testing.assert_array_equal(some.state_c, every.state_c[:count])
    for name in ("joules", "equivalent_torque_nm", "duty_ratio", "peak_winding_c"):
        np.testing.assert_array_equal(getattr(some.duty, name), getattr(every.duty, name)[:count])


def test_seeds_differ():
    world = World("sort", worlds=40, threads=1)
    values = world.environment()
    assert len({tuple(row) for row in values.round(9)}) == 40
    assert len({world.goal(i).text for i in range(40)}) == 6


def test_a_randomized_mass_scales_the_inertia():
    """A box of scaled density: mass and inertia have the same factor, which shows in the angular acceleration."""
    world = World("lift", worlds=3, threads=1)
    world.reset([1, 2, 3])
    body = world.model.body("red_cube").id
    mass = world._mass[:, body] / world.model.body_mass[body]
    inertia = world._inertia[:, body] / world.model.body_inertia[body]
    assert len({round(ratio, 6) for ratio in mass}) == 3
    np.testing.assert_allclose(inertia, np.repeat(mass[:, None], 3, axis=1))
    np.testing.assert_array_less(np.abs(mass - 1), 0.1)


def test_ground_truth_values_are_named():
    world = World("sort")
    names, values = world.environment_names, world.environment()[0]
    assert names[:7] == tuple(f"red_cube.{part}" for part in ("x", "y", "z", "qw", "qx", "qy", "qz"))
    assert names[21:] == ("goal.red_cube", "goal.blue_cube", "goal.green_cube", "goal.left_bin", "goal.right_bin")
    world.set_goal(None, Goal(skill="put", object="green cube", target="left bin"))
    assert world.environment()[0, 21:].tolist() == [0, 0, 1, 1, 0]
    assert values[2] == pytest.approx(0.015)
    assert world.goal(0).text == "put the green cube in the left bin"


def test_a_lifted_cube_reaches_the_goal():
    task = load_task("lift")
    goal = Goal(skill="lift", object="red cube")
    poses = np.zeros((3, 1, 7))
    poses[:, 0, 2] = [0.015, 0.114, 0.116]
    assert task.reached(goal, poses, np.zeros((3, 1))).tolist() == [False, False, True]


def test_a_cube_at_rest_in_the_bin_reaches_the_goal():
    task = load_task("sort")
    goal = Goal(skill="put", object="blue cube", target="right bin")
    poses = np.zeros((4, 3, 7))
    poses[:, 1, :3] = [[0.12, -0.215, 0.02], [0.12, -0.215, 0.06], [0.12, 0.215, 0.02], [0.12, -0.215, 0.02]]
    speeds = np.zeros((4, 3))
    speeds[3, 1] = 0.2
    assert task.reached(goal, poses, speeds).tolist() == [True, False, False, False]


def test_torque_warms_the_winding_like_the_heat_model():
    world = World("lift", worlds=1)
    world.reset([0], warm=(50.0, 40.0))
    np.testing.assert_allclose(world.heat[0], np.tile([50.0, 40.0], (6, 1)))
    exact = world.heat.copy()
    for _ in range(150):
        world.step(world.robot.home[None] + 0.3)
        load = Load(world.current**2 * 2.68, np.zeros(6))
        exact = world.motors.model.step(exact, load, 25.0, 1 / 60)
        np.testing.assert_allclose(world.heat, exact, atol=0.06)
    holding = np.abs(world.effort) < 0.9
    np.testing.assert_array_equal(world.current[holding], world.effort[holding] / 1.21)


def test_heat_can_be_kept_over_a_reset():
    world = World("lift", worlds=1)
    world.reset([0], warm=(60.0, 55.0))
    world.step(world.robot.home[None])
    heat = world.heat.copy()
    world.reset([1], keep_heat=True)
    np.testing.assert_array_equal(world.heat, heat)
    world.reset([1])
    np.testing.assert_array_equal(world.heat, np.full_like(heat, 25.0))


def test_a_scene_lists_objects_and_targets():
    scene = World("sort").scene(0)
    assert scene.objects == ("red cube", "blue cube", "green cube")
    assert scene.targets == ("left bin", "right bin")
    assert scene.holding is None


def test_targets_are_clipped_to_the_limits():
    world = World("lift")
    for _ in range(120):
        world.step(np.full((1, 6), 99.0))
    assert np.all(world.position[0] < world.robot.upper + 0.02)


def test_an_unknown_task_is_rejected_with_a_suggestion():
    with pytest.raises(UnknownNameError) as error:
        World("lifts")
    assert (
        str(error.value)
        == "unknown task 'lifts'; did you mean 'lift'? (known: carry, carry_dex3, carry_inspire, lift, pick, sort)"
    )


def test_goals_that_the_task_does_not_have_are_rejected():
    world = World("lift")
    with pytest.raises(UnsupportedOptionError) as wrong_skill:
        world.set_goal(None, Goal(skill="put", object="red cube", target="left bin"))
    assert str(wrong_skill.value) == "the skill 'put' is not supported with the task 'lift' (supported: lift)"
    with pytest.raises(UnknownNameError) as wrong_object:
        world.set_goal(None, Goal(skill="lift", object="red cup"))
    assert str(wrong_object.value) == "unknown object 'red cup'; did you mean 'red cube'? (known: red cube)"


def test_a_batch_needs_a_world():
    with pytest.raises(InvalidValueError) as error:
        World("lift", worlds=0)
    assert str(error.value) == "worlds is 0, expected a number from 1"


def test_a_task_of_another_robot_is_rejected():
    with pytest.raises(InvalidValueError) as error:
        World("carry", robot=load_robot("so101"))
    assert str(error.value) == "robot is 'so101', expected g1, whose joints the task carry needs"


def test_a_model_without_the_named_joints_is_rejected(tmp_path):
    path = tmp_path / "bare.xml"
    path.write_text('<mujoco><worldbody><body><joint name="hip"/><geom size=".1"/></body></worldbody></mujoco>')
    with pytest.raises(InvalidValueError) as error:
        World("lift", robot=dataclasses.replace(load_robot("so101"), mjcf=str(path)))
    assert str(error.value) == f"mjcf is {str(path)!r}, expected a joint and an actuator named 'shoulder_pan'"


def test_a_model_of_the_robot_may_have_keyframes_cameras_without_names_and_other_actuators(tmp_path):
    path, robot = tmp_path / "motors.xml", load_robot("so101")
    text = robot.mjcf_path.read_text()
    servo = '<position class="so101" name="shoulder_pan"'
    assert servo in text
    key = '<keyframe><key qpos="0 0 0 0 0 0"/></keyframe></mujoco>'
    text = text.replace(servo, '<motor name="m1" forcerange="-3 3"').replace("</mujoco>", key)
    path.write_text(text.replace("<worldbody>", '<worldbody><camera pos="0 0 1"/>'))
    world = World("lift", threads=1, robot=dataclasses.replace(robot, mjcf=str(path)))
    world.reset([0])
    target = world.position[0] + np.array([0.3, 0, 0, 0, 0, 0])
    for _ in range(120):
        world.step(target[None])
    assert world.position[0, 0] == pytest.approx(target[0], abs=0.02)
    assert world.model.camera(0).name == "camera0"
    world.close()


def test_each_world_needs_a_seed():
    with pytest.raises(InvalidValueError) as error:
        World("lift", worlds=2).reset([1])
    assert str(error.value) == "seeds is 1, expected 2, one for each world to reset"


def test_a_seed_chooses_an_object_and_a_wording():
    world = World(PICK, worlds=60, threads=1)
    texts = [world.instruction(index) for index in range(60)]
    assert {world.goal(index).object for index in range(60)} == {"red cube", "blue cube", "green cube"}
    assert len({text.replace(world.goal(i).object, "it") for i, text in enumerate(texts)}) == len(LIFT_PHRASES)
    assert all(world.goal(index).object in text for index, text in enumerate(texts))
    again = World(PICK, worlds=1, threads=1)
    again.reset([17])
    assert again.instruction(0) == texts[17]
    again.set_goal(None, Goal(skill="lift", object="green cube"))
    assert again.instruction(0) == "lift the green cube"


def test_a_policy_can_be_instructed_with_another_goal_than_that_of_the_world():
    world = World(PICK, worlds=2, threads=1)
    own, phrase = world.goal(1), world.instruction(1)
    other = PICK.another_object(own.object)
    world.instruct({1: Goal(skill="lift", object=other)})
    assert world.goal(1) == own
    assert world.instruction(1) == phrase.replace(own.object, other)
    names = world.environment_names
    values = dict(zip(names, world.environment()[1], strict=True))
    assert [name for name in names if name.startswith("goal.") and values[name]] == [f"goal.{other.replace(' ', '_')}"]
    with pytest.raises(UnknownNameError, match="unknown object 'blu cube'"):
        world.instruct({0: Goal(skill="lift", object="blu cube")})
    world.reset([1], [1])
    assert world.instruction(1) == phrase


def test_a_task_with_one_object_has_no_other():
    with pytest.raises(UnsupportedOptionError, match="a goal with another object is not supported with the task"):
        World("lift", threads=1).task.another_object("red cube")


def test_the_next_goal_has_another_object_and_target_and_is_the_same_for_a_seed():
    first, again = World("sort", worlds=8), World("sort", worlds=8)
    before = [first.goal(i) for i in range(8)]
    for world in (first, again):
        world.next_goal()
    after = [first.goal(i) for i in range(8)]
    assert all(a.object != b.object and a.target != b.target for a, b in zip(after, before, strict=True))
    assert after == [again.goal(i) for i in range(8)]
    first.next_goal([3])
    assert first.goal(3).object != after[3].object
    assert [first.goal(i) for i in range(8) if i != 3] == [after[i] for i in range(8) if i != 3]
    assert first.environment()[3].tolist() != again.environment()[3].tolist()


def test_after_a_reset_the_next_goal_of_a_seed_is_the_same():
    world = World("pick")
    world.next_goal()
    first = world.goal(0), world.instruction(0)
    world.next_goal()
    world.reset([0])
    world.next_goal()
    assert (world.goal(0), world.instruction(0)) == first


def test_a_task_with_one_object_has_no_next_goal():
    with pytest.raises(UnsupportedOptionError, match="a goal with another object is not supported"):
        World("lift").next_goal()


def test_the_next_goal_of_a_task_with_one_bin_has_another_object_and_the_same_target():
    task = load_task("sort")
    one_bin = dataclasses.replace(
        task, bins=task.bins[:1], sample_goal=sample_put(task.object_names, task.bins[0].name)
    )
    rng = np.random.default_rng(0)
    before = one_bin.sample_goal(rng)
    for _ in range(10):
        after = one_bin.sample_another_goal(before, rng)
        assert after.object != before.object
        assert after.target == before.target
        before = after


def test_a_task_whose_goals_name_one_object_has_no_next_goal():
    task = load_task("sort")
    same = dataclasses.replace(task, sample_goal=sample_put(task.object_names[:1], task.bins[0].name))
    rng = np.random.default_rng(0)
    with pytest.raises(UnsupportedOptionError, match="'sort', whose goals name one"):
        same.sample_another_goal(same.sample_goal(rng), rng)


def sample_put(objects, target):
    """Return a function that samples the goal to put one of some objects in a bin."""
    return lambda rng: Goal(skill="put", object=objects[rng.integers(len(objects))], target=target)
