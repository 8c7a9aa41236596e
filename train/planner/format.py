"""Input and output of a planning model: the prompt, the JSON of a plan, and its schema for a scene."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from waldo.errors import WaldoError
from waldo.sim.tasks.goal import Goal, Scene

MAX_STEPS = 12
"""Largest number of steps in a plan."""

SYSTEM = """\
You plan for a robot with one free hand. You are given the scene (objects, targets, what the hand holds), the steps \
that are done and a task. Answer with JSON only: {"plan": [step, ...]}, the steps that remain, in order. A step is:
{"skill": "put", "object": NAME, "target": NAME}   take the object and put it in the target
{"skill": "lift", "object": NAME}                  lift the object and keep holding it
{"skill": "hand_over", "object": NAME}             give the object to the person
Use only names that the scene lists. Never repeat a step that is done. Do exactly what is asked and nothing else. \
If the task names something that is not in the scene or cannot be done with these skills, answer {"plan": []}."""
"""System prompt of a general model; the toy planner is trained on the task and has none."""


class AnswerError(WaldoError):
    """An answer of a model that is not a plan."""


def normal(instruction: str) -> str:
    """Return an instruction in lower case on one line, with plain quotes and dashes."""
    for typographic, plain in (("’", "'"), ("‘", "'"), ("“", '"'), ("”", '"'), ("→", "->"), ("–", "-"), ("—", "-")):
        instruction = instruction.replace(typographic, plain)
    return " ".join(instruction.lower().split())


def prompt(instruction: str, scene: Scene, done: Sequence[Goal] = ()) -> str:
    """Return the prompt for a model."""
    contents = {"objects": list(scene.objects), "targets": list(scene.targets), "holding": scene.holding}
    history = "; ".join(goal.text for goal in done) or "none"
    return f"scene: {_compact(contents)}\ndone: {history}\ntask: {normal(instruction)}"


def step_json(goal: Goal) -> dict[str, str]:
    """Return one step in the form of a plan's JSON."""
    step = {"skill": goal.skill, "object": goal.object}
    return step if goal.target is None else {**step, "target": goal.target}


def plan_json(plan: Sequence[Goal]) -> str:
    """Return a plan as JSON."""
    return _compact({"plan": [step_json(goal) for goal in plan]})


def parse_plan(text: str) -> list[Goal]:
    """Return the plan in a model's answer.

    Raises:
        AnswerError: If the answer is not a plan.
    """
    try:
        answer = json.loads(text)
    except json.JSONDecodeError as error:
        raise AnswerError(f"the planner returned {_short(text)}, which is not JSON ({error.msg})") from error
    if not isinstance(answer, dict) or not isinstance(cast("dict[str, Any]", answer).get("plan"), list):
        raise AnswerError(f'the planner returned {_short(text)}, expected {{"plan": [...]}}')
    return [_parse_step(step) for step in cast("dict[str, list[Any]]", answer)["plan"]]


def _parse_step(step: object) -> Goal:
    fields = cast("dict[str, Any]", step) if isinstance(step, dict) else {}
    target = fields.get("target")
    if not isinstance(fields.get("skill"), str) or not isinstance(fields.get("object"), str):
        raise AnswerError(
            f'the planner returned the step {_short(str(step))}, expected {{"skill", "object", "target"}}'
        )
    try:
        return Goal(fields["skill"], fields["object"], None if target is None else str(target))
    except WaldoError as error:
        raise AnswerError(f"the planner returned the step {_short(str(step))}: {error}") from error


def plan_schema(scene: Scene) -> dict[str, Any]:
    """Return the JSON schema of the plans that only use names in the scene."""
    kinds = [_step_schema("lift", scene), _step_schema("hand_over", scene)]
    if scene.targets:
        kinds.insert(0, _step_schema("put", scene))
    steps = {"type": "array", "items": {"anyOf": kinds}, "maxItems": MAX_STEPS}
    return {"type": "object", "properties": {"plan": steps}, "required": ["plan"], "additionalProperties": False}


def _step_schema(skill: str, scene: Scene) -> dict[str, Any]:
    properties: dict[str, Any] = {"skill": {"const": skill}, "object": {"enum": list(scene.objects)}}
    if skill == "put":
        properties["target"] = {"enum": list(scene.targets)}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _short(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "...")
