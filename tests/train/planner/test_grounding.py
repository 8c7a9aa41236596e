import pytest

from waldo.sim.tasks.goal import Goal, Scene
from waldo.train.planner.grounding import mentioned_scene, strange_steps, unheard_names, unknown_mentions

SCENE = Scene(("red cube", "green cube", "blue ball"), ("left bin", "right bin", "blue tray"))


@pytest.mark.parametrize(
    ("instruction", "missing"),
    [
        ("put the purple cube in the left bin", ["purple cube"]),
        ("put the red ball in the left bin", ["red ball"]),
        ("put the red cube in the bowl", ["bowl"]),
        ("put the red cube in the middle bin", ["middle bin"]),
        ("put the yellow one in the left bin", ["yellow one"]),
        ("hand me the wrench and the teapots", ["wrench", "teapots"]),
        ("Lift the GREEN cubes, then the orange thing.", ["orange thing"]),
        ("put the red and the blue cube in the left bin", ["blue cube"]),
        ("put the red and green cubes in the right-hand bin", []),
        ("put everything in the blue tray", []),
        ("can you lift the ball off the table", []),
        ("put the red one in the left one and it in the other bin", []),
    ],
)
def test_absent_names_are_found(instruction: str, missing: list[str]) -> None:
    found = unknown_mentions(instruction, SCENE)
    assert [m.rstrip("s") for m in found] == [m.rstrip("s") for m in missing]


def test_an_unknown_word_after_an_article_is_found() -> None:
    assert unheard_names("put the spaceship in the left bin", SCENE) == ["spaceship"]
    assert unheard_names("please put the red cube over there in the left bin, and the rest too", SCENE) == []


def test_a_plan_that_contradicts_the_wording_is_found() -> None:
    plan = [Goal("put", "blue ball", "left bin")]
    assert strange_steps("put the green cube in the left bin", SCENE, plan) == [
        "the plan moves the blue ball, which the instruction does not mention"
    ]
    assert strange_steps("put the ball in the left bin", SCENE, [Goal("put", "blue ball", "blue tray")]) == [
        "the plan uses the blue tray, which the instruction does not mention"
    ]
    both = "put the red cube in the left bin, then the blue one in the right bin"
    assert strange_steps(both, SCENE, [Goal("put", "blue ball", "right bin")]) == [
        "the plan leaves out the red cube, which the instruction names"
    ]
    assert strange_steps("put everything but the red cube in the left bin", SCENE, plan) == []


def test_the_schema_is_limited_to_the_mentioned_names() -> None:
    assert mentioned_scene("lift the ball", SCENE) == Scene(("blue ball",), SCENE.targets)
    assert mentioned_scene("put the red cube in the tray", SCENE) == Scene(("red cube", "green cube"), ("blue tray",))
    assert mentioned_scene("put it in the tray", SCENE) == SCENE
    assert mentioned_scene("dance", SCENE) == SCENE
