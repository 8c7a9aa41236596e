"""A symbolic check of plans: a plan that is carried out names what is there and can be done in its order."""

from __future__ import annotations

from collections.abc import Sequence

from waldo.errors import WaldoError
from waldo.sim.tasks.goal import Goal, Scene


class PlanError(WaldoError):
    """An instruction that cannot be planned, or a plan that cannot be carried out."""

    def __init__(self, instruction: str, problems: Sequence[str], do: str = "") -> None:
        """Take the instruction, what is wrong and what to do about it."""
        self.instruction, self.problems = instruction, tuple(problems)
        super().__init__(f"no plan for {instruction!r}: {'; '.join(problems)}" + (f"; {do}" if do else ""))


def listed(names: Sequence[str]) -> str:
    """Return names as a readable list, "none" if there are none."""
    return ", ".join(names) or "none"


def plan_problems(plan: Sequence[Goal], scene: Scene, done: Sequence[Goal] = ()) -> list[str]:
    """Return what makes a plan impossible, one sentence each; an empty list means that it can be carried out."""
    problems = _scene_problems(scene)
    placed = {goal.object: goal for goal in done if goal.skill != "lift"}
    held = scene.holding
    for number, goal in enumerate(plan, start=1):
        step = f"step {number} ({goal.text})"
        problems += _unknown_names(step, goal, scene)
        if goal.object in placed:
            problems.append(f"{step} moves the {goal.object} again after: {placed[goal.object].text}")
        if goal.skill == "lift" and held == goal.object:
            problems.append(f"{step} lifts what the hand already holds")
        elif held is not None and held != goal.object:
            problems.append(f"{step} needs a free hand, but it holds the {held}; say first where the {held} goes")
        held = goal.object if goal.skill == "lift" else None
        if goal.skill != "lift":
            placed[goal.object] = goal
    return problems


def _scene_problems(scene: Scene) -> list[str]:
    if scene.holding is not None and scene.holding not in scene.objects:
        return [f"the hand holds {scene.holding!r}, which is none of the objects: {listed(scene.objects)}"]
    return []


def _unknown_names(step: str, goal: Goal, scene: Scene) -> list[str]:
    problems: list[str] = []
    if goal.object not in scene.objects:
        problems.append(f"{step} names the object {goal.object!r}, but there are: {listed(scene.objects)}")
    if goal.target is not None and goal.target not in scene.targets:
        problems.append(f"{step} names the target {goal.target!r}, but there are: {listed(scene.targets)}")
    return problems


def check_plan(instruction: str, plan: Sequence[Goal], scene: Scene, done: Sequence[Goal] = ()) -> None:
    """Raise a PlanError that lists everything that makes the plan impossible."""
    if not plan and not done:
        raise PlanError(instruction, ["the planner found nothing to do"], "name the objects and where they go")
    if problems := plan_problems(plan, scene, done):
        raise PlanError(instruction, problems)
