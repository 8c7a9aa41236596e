"""Random (scene, done, instruction) -> plan examples, on which the toy planner is trained and measured.

The plan is the literal translation of the instruction. One example in twenty requests something impossible; the planner
translates it as well, and `plan_check` refuses the plan.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from waldo.sim.tasks.goal import Goal, Scene
from waldo.train.planner import words
from waldo.train.planner.plan_check import plan_problems
from waldo.train.planner.training.clauses import DeadEndError
from waldo.train.planner.training.grammar import InstructionGenerator
from waldo.train.planner.training.scene import held_out

SPLITS = ("train", "combinations", "phrasings", "nouns")
"""The training split, and splits with held-out combinations of object and target, phrasings and nouns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One training pair: the input of the planner and the expected plan."""

    scene: Scene
    """The scene."""
    done: tuple[Goal, ...]
    """Steps that are done."""
    instruction: str
    """The instruction in lower case."""
    plan: tuple[Goal, ...]
    """The remaining steps in order."""


def misspelled(rng: Random, text: str) -> str:
    """Return the text with one letter of a longer word dropped, doubled or swapped."""
    spans = [m.span() for m in re.finditer(r"[a-z]{5,}", text)]
    if not spans:
        return text
    start, end = rng.choice(spans)
    at = rng.randrange(start + 1, end - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:at] + text[at + 1 :]
    return text[:at] + (text[at] * 2 if kind == 1 else text[at + 1] + text[at]) + text[at + (1 if kind == 1 else 2) :]


def _belongs(generator: InstructionGenerator, plan: list[Goal], split: str) -> bool:
    """Return whether an instruction belongs to a split."""
    new = [g for g in plan if g.target is not None and held_out(g.object, g.target)]
    if split == "combinations":
        return bool(new)
    if split == "phrasings":
        return generator.used_held_out and not new
    if split == "nouns":
        return any(g.object.split()[-1] in words.HELD_OUT_NOUNS for g in plan)
    return not new


def sample(rng: Random, split: str = "train", *, possible: bool | None = None, plain: bool = False) -> Example:
    """Draw an example.

    Args:
        rng: Source of randomness.
        split: One of `SPLITS`.
        possible: True for plans that `plan_check` accepts, False for plans that it refuses; None mixes both.
        plain: Draw common phrasings with one or two clauses and few objects; otherwise half are long and complex.
    """
    is_possible = rng.random() > 0.05 if possible is None else possible
    while True:
        generator = InstructionGenerator(rng, split, is_possible, plain)
        try:
            text, plan = generator.instruction()
        except DeadEndError:
            continue
        if len(plan) > 8 or len(text) > 260 or not _belongs(generator, plan, split):
            continue
        scene = generator.named.scene
        if not is_possible and not plan_problems(plan, scene):
            continue
        done: list[Goal] = []
        if is_possible and split == "train" and rng.random() < 0.18:
            done = plan[: rng.randint(1, len(plan))]
            if len(done) == len(plan) and rng.random() < 0.7:
                done = done[:-1]
            held = done[-1].object if done and done[-1].skill == "lift" else scene.holding if not done else None
            scene = Scene(scene.objects, scene.targets, held)
        if split == "train" and rng.random() < 0.04:
            text = misspelled(rng, text)
        text += rng.choice(
            ("", "", ".", ".", "!", "?" if text.startswith(("can", "could", "would", "will", "may")) else "")
        )
        return Example(scene=scene, done=tuple(done), instruction=text.strip(), plan=tuple(plan[len(done) :]))
