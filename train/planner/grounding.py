"""Compare the names in an instruction with the scene and the plan, for planners with a closed vocabulary.

The toy planner maps any instruction to a plan about the scene, even if the instruction is about something else. These
checks find names that the scene lacks, and objects that a plan moves or leaves out against the wording. They compare
words and do not understand the instruction, so they must not be applied to general language models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from waldo.sim.tasks.goal import Goal, Scene
from waldo.train.planner import words
from waldo.train.planner.format import normal
from waldo.train.planner.plural import plural
from waldo.train.planner.words import HELD_OUT_NOUNS, KNOWN_NOUNS, NOT_NAMES, PLACEHOLDERS, QUALITIES, SIDES

PRONOUN = re.compile(words.PRONOUNS)
EXCEPTION = re.compile(words.EXCEPTIONS)


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall(r"[a-z0-9']+", normal(text).replace("-", " "))


def unknown_mentions(instruction: str, scene: Scene) -> list[str]:
    """Return the names in an instruction that match nothing in the scene, such as "purple cube" or "teapot"."""
    spoken = words_of(instruction)
    names = [words_of(name) for name in (*scene.objects, *scene.targets)]
    present = {word for name in names for word in name}
    singular = {plural(word): word for word in KNOWN_NOUNS | present}
    found: list[str] = []
    for at, word in enumerate(spoken):
        noun = singular.get(word, word)
        before = spoken[at - 1] if at else ""
        after = spoken[at + 1] if at + 1 < len(spoken) else ""
        if noun in KNOWN_NOUNS or noun in present - QUALITIES - set(SIDES):
            found += _absent_noun(noun, before, names, present)
        elif word in QUALITIES and word not in present and not (after and _is_noun(after, singular, present)):
            found.append(f"{word} {after}" if after in PLACEHOLDERS else word)
    return list(dict.fromkeys(found))


def _absent_noun(noun: str, before: str, names: Sequence[Sequence[str]], present: set[str]) -> list[str]:
    """Return a noun, with its quality or side if it has one, unless the scene has such an object or target."""
    qualified = before in QUALITIES | set(SIDES)
    if noun not in present:
        return [f"{before} {noun}" if qualified else noun]
    if qualified and not any(noun in name and before in name for name in names):
        return [f"{before} {noun}"]
    return []


@cache
def grammar_words() -> frozenset[str]:
    """Return all words in the phrases of the synthetic grammar."""
    phrases = [
        text for name, table in vars(words).items() if name.isupper() and isinstance(table, tuple) for text in table
    ]
    return frozenset(word for text in phrases for word in words_of(re.sub(r"\{[^}]*\}", " ", text))) - set(
        HELD_OUT_NOUNS
    )


def unheard_names(instruction: str, scene: Scene) -> list[str]:
    """Return the nouns after an article ("the spaceship") that are outside the vocabulary of the toy planner."""
    spoken = words_of(instruction)
    present = {word for name in (*scene.objects, *scene.targets) for word in words_of(name)}
    known = present | KNOWN_NOUNS | NOT_NAMES | QUALITIES | set(SIDES) | grammar_words()
    known |= {plural(word) for word in known}
    found: list[str] = []
    for at, word in enumerate(spoken[:-1]):
        if word not in ("the", "a", "an", "my", "our"):
            continue
        named = spoken[at + 1 : at + 4]
        while named[:-1] and named[0] in QUALITIES | set(SIDES):
            named = named[1:]
        if named[0] not in known:
            found.append(named[0])
    return list(dict.fromkeys(found))


def _is_noun(word: str, singular: dict[str, str], present: set[str]) -> bool:
    noun = singular.get(word, word)
    return noun in KNOWN_NOUNS or noun in present


def strange_steps(instruction: str, scene: Scene, plan: Sequence[Goal], done: Sequence[Goal] = ()) -> list[str]:
    """Return the contradictions between a plan and the names in its instruction, one sentence each."""
    text = " ".join(words_of(instruction))
    if PRONOUN.search(text):
        return _forgotten(text, scene, (*plan, *done))
    problems = [
        f"the plan moves the {goal.object}, which the instruction does not mention"
        for goal in plan
        if not _is_mentioned(goal.object, text)
    ]
    if "there" not in text and "same" not in text:
        problems += [
            f"the plan uses the {goal.target}, which the instruction does not mention"
            for goal in plan
            if goal.target is not None and not _is_mentioned(goal.target, text)
        ]
    return list(dict.fromkeys(problems)) or _forgotten(text, scene, (*plan, *done))


def mentioned_scene(instruction: str, scene: Scene) -> Scene:
    """Return the objects and targets that an instruction mentions; all of them if it has pronouns."""
    text = " ".join(words_of(instruction))
    if PRONOUN.search(text):
        return scene
    objects = tuple(name for name in scene.objects if _is_mentioned(name, text))
    targets = tuple(name for name in scene.targets if _is_mentioned(name, text))
    return Scene(objects or scene.objects, targets if targets and "there" not in text else scene.targets, scene.holding)


def _is_mentioned(name: str, text: str) -> bool:
    """Return whether any word of a name, or its plural, is in the text."""
    return any(re.search(rf"\b({re.escape(w)}|{re.escape(plural(w))})\b", text) for w in words_of(name))


def _forgotten(text: str, scene: Scene, plan: Sequence[Goal]) -> list[str]:
    """Return the objects that the instruction names in full and the plan does not move, unless it has exceptions."""
    if EXCEPTION.search(text):
        return []
    moved = {goal.object for goal in plan}
    full = [name for name in scene.objects if re.search(rf"\b{re.escape(' '.join(words_of(name)))}\b", text)]
    return [f"the plan leaves out the {name}, which the instruction names" for name in full if name not in moved]
