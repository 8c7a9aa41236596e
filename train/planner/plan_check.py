"""Symbolic check of a plan: all names are in the scene, and the steps can be executed in their order."""

from __future__ import annotations

from collections.abc import Sequence

from waldo.errors import WaldoError
from waldo.sim.tasks.goal import Goal, Scene


class PlanError(WaldoError):
    """An instruction without a plan, or a plan that cannot be executed."""

    def __init__(self, instruction: str, problems: Sequence[str], do: str = "") -> None:
        """Build the message from the instruction, the problems and what to do."""
        self.instruction, self.problems = instruction, tuple(problems)
        super().__init__(f"no plan for {instruction!r}: {'; '.join(problems)}" + (f"; {do}" if do else ""))


def listed(names: Sequence[str]) -> str:
    """Return names separated by commas, or "none"."""
    return ", ".join(names) or "none"


def plan_problems(plan: Sequence[Goal], scene: Scene, done: Sequence[Goal] = ()) -> list[str]:
    """Return the reasons why a plan cannot be executed, one sentence each; empty if it can."""
    problems = _scene_problems(scene)
    placed = {goal.object: goal for goal in done if goal.skill != "lift"}
    held = scene.holding
    for number, goal in enumerate(plan, start=1):
        step = f"step {number} ({goal.text})"
        problems += _unknown_names(step, goal, scene)
        if goal.object in placed:
            problems.append(f"{step} moves the {goal.object} again after: {placed[goal.object].text}")
        if goal.skill == "lift" and held == goal.object:
            problems.append(f"{step} lifts the object that is already in the hand")
        elif held is not None and held != goal.object and scene.targets:
            # Without targets, an object in the hand is put down where there is room.
            problems.append(f"{step} needs a free hand, but it holds the {held}; first state where the {held} goes")
        held = goal.object if goal.skill == "lift" else None
        if goal.skill != "lift":
            placed[goal.object] = goal
    return problems


def _scene_problems(scene: Scene) -> list[str]:
    if scene.holding is not None and scene.holding not in scene.objects:
        return [f"the hand holds {scene.holding!r}, which is not an object of the scene ({listed(scene.objects)})"]
    return []


def _unknown_names(step: str, goal: Goal, scene: Scene) -> list[str]:
    problems: list[str] = []
    if goal.object not in scene.objects:
        problems.append(f"{step} names the object {goal.object!r}, which is not in the scene ({listed(scene.objects)})")
    if goal.target is not None and goal.target not in scene.targets:
        problems.append(f"{step} names the target {goal.target!r}, which is not in the scene ({listed(scene.targets)})")
    return problems
