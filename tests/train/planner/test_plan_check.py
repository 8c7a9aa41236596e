import pytest

from waldo.sim.tasks.goal import Goal, Scene
from waldo.train.planner.plan_check import PlanError, plan_problems

SCENE = Scene(("red cube", "green cube", "blue cube"), ("left bin", "right bin"))
HOLDING = Scene(SCENE.objects, SCENE.targets, "red cube")
RED_LEFT, BLUE_RIGHT = Goal("put", "red cube", "left bin"), Goal("put", "blue cube", "right bin")


@pytest.mark.parametrize(
    ("plan", "scene"),
    [
        ([RED_LEFT, BLUE_RIGHT], SCENE),
        ([RED_LEFT, Goal("lift", "blue cube")], SCENE),
        ([Goal("lift", "red cube"), RED_LEFT, BLUE_RIGHT], SCENE),
        ([RED_LEFT, BLUE_RIGHT], HOLDING),
        ([Goal("hand_over", "red cube"), BLUE_RIGHT], HOLDING),
        ([], SCENE),
    ],
)
def test_executable_plans_pass(plan: list[Goal], scene: Scene) -> None:
    assert plan_problems(plan, scene) == []


@pytest.mark.parametrize(
    ("plan", "scene", "problem"),
    [
        (
            [Goal("put", "ball", "left bin")],
            SCENE,
            "step 1 (put the ball in the left bin) names the object 'ball', which is not in the scene "
            "(red cube, green cube, blue cube)",
        ),
        (
            [Goal("put", "red cube", "shelf")],
            SCENE,
            "step 1 (put the red cube in the shelf) names the target 'shelf', which is not in the scene "
            "(left bin, right bin)",
        ),
        (
            [RED_LEFT, Goal("put", "red cube", "right bin")],
            SCENE,
            "step 2 (put the red cube in the right bin) moves the red cube again after: "
            "put the red cube in the left bin",
        ),
        (
            [Goal("hand_over", "red cube"), Goal("lift", "red cube")],
            SCENE,
            "step 2 (lift the red cube) moves the red cube again after: hand over the red cube",
        ),
        (
            [BLUE_RIGHT],
            HOLDING,
            "step 1 (put the blue cube in the right bin) needs a free hand, but it holds the red cube; "
            "first state where the red cube goes",
        ),
        (
            [Goal("lift", "red cube")],
            HOLDING,
            "step 1 (lift the red cube) lifts the object that is already in the hand",
        ),
        (
            [],
            Scene(("cup",), (), "jar"),
            "the hand holds 'jar', which is not an object of the scene (cup)",
        ),
    ],
)
def test_the_reason_is_reported(plan: list[Goal], scene: Scene, problem: str) -> None:
    assert plan_problems(plan, scene) == [problem]


def test_completed_steps_are_not_repeated() -> None:
    assert plan_problems([BLUE_RIGHT], SCENE, [RED_LEFT]) == []
    expected = (
        "step 1 (put the red cube in the left bin) moves the red cube again after: put the red cube in the left bin"
    )
    assert plan_problems([RED_LEFT], SCENE, [RED_LEFT]) == [expected]


def test_the_error_names_the_instruction_and_every_problem() -> None:
    error = PlanError("dance twice", ["no steps", "no music"], "name the objects")
    assert str(error) == "no plan for 'dance twice': no steps; no music; name the objects"
