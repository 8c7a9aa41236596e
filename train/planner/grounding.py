"""What an instruction names, word by word: so that nothing absent is planned around and nothing unasked is done.

These checks do not understand the instruction. They look for names: of things that are not in the scene, and of
things that a plan moves or leaves though the instruction says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from waldo.sim.tasks.goal import Goal, Scene
from waldo.train.planner import words
from waldo.train.planner.format import normal
from waldo.train.planner.references import plural
from waldo.train.planner.words import COLOURS, HELD_OUT_NOUNS, NOUNS, RARE_NOUNS, SIDES, TARGET_NOUNS

QUALITIES = frozenset((*COLOURS, "gray", "gold", "magenta", "crimson", "navy", "maroon", "turquoise", "indigo"))
KNOWN_NOUNS = frozenset((*NOUNS, *RARE_NOUNS, *HELD_OUT_NOUNS, *TARGET_NOUNS)) - {
    "orange",
    "toy",
    "can",
    "table",
    "cart",
    "robot",
}
"""Nouns that are looked for; not those that mean something else in plain talk ("can you", "off the table")."""
ANY_THING = frozenset(
    ("one", "ones", "thing", "things", "object", "objects", "item", "items", "coloured", "colored", "colour")
)
LOOSE = re.compile(
    r"\b(it|them|one|ones|thing|things|object|objects|item|items|everything|all|every|each|both|other|others|rest|remaining|"
    r"last|this|that|these|those|what|whatever|lot|hold|holding|hand|gripper|three|two|any|stuff)\b"
)
"""Words by which something can be meant without its name."""
EXCEPT = re.compile(
    r"\b(not|don't|dont|never|except|but|without|leave|ignore|keep|apart|besides|excluding|other than|no|i mean|sorry|"
    r"alone)\b"
)
"""Words after which a name may be said without its object being moved."""


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    return re.findall(r"[a-z0-9']+", normal(text).replace("-", " "))


def unknown_mentions(instruction: str, scene: Scene) -> list[str]:
    """Return the names in an instruction that match nothing in the scene: "purple cube", "teapot"."""
    said = words_of(instruction)
    names = [words_of(name) for name in (*scene.objects, *scene.targets)]
    there = {word for name in names for word in name}
    singular = {plural(word): word for word in KNOWN_NOUNS | there}
    found: list[str] = []
    for at, word in enumerate(said):
        noun = singular.get(word, word)
        before = said[at - 1] if at else ""
        if noun in KNOWN_NOUNS or noun in there - QUALITIES - set(SIDES):
            if noun not in there:
                found.append(f"{before} {noun}" if before in QUALITIES | set(SIDES) else noun)
            elif before in QUALITIES and not any(noun in name and before in name for name in names):
                found.append(f"{before} {noun}")
            elif (
                before in SIDES
                and not any(noun in name and before in name for name in names)
                and f"{before} {noun}" not in found
            ):
                found.append(f"{before} {noun}")
        elif (
            word in QUALITIES
            and word not in there
            and not (at + 1 < len(said) and _noun(said[at + 1], singular, there))
        ):
            found.append(word if at + 1 == len(said) or said[at + 1] not in ANY_THING else f"{word} {said[at + 1]}")
    return list(dict.fromkeys(found))


PLAIN = frozenset(
    "hand other others rest same remaining last lot first second third two three air robot gripper person human place "
    "one ones end order following next time thing things object objects item items coloured colour color ground floor "
    "way both only work whole toy can cart orange so when while now".split()
)
"""What may follow an article though it names nothing in a scene."""


@cache
def grammar_words() -> frozenset[str]:
    """Return every word that the training language's phrases are made of."""
    phrases = [
        text for name, table in vars(words).items() if name.isupper() and isinstance(table, tuple) for text in table
    ]
    return frozenset(word for text in phrases for word in words_of(re.sub(r"\{[^}]*\}", " ", text))) - set(
        HELD_OUT_NOUNS
    )


def unheard_names(instruction: str, scene: Scene) -> list[str]:
    """Return what is named with an article ("the spaceship") by a word that the embedded planner has never met."""
    said = words_of(instruction)
    there = {word for name in (*scene.objects, *scene.targets) for word in words_of(name)}
    known = there | KNOWN_NOUNS | PLAIN | QUALITIES | set(SIDES) | grammar_words()
    known |= {plural(word) for word in known}
    found: list[str] = []
    for at, word in enumerate(said[:-1]):
        if word not in ("the", "a", "an", "my", "our"):
            continue
        named = said[at + 1 : at + 4]
        while named[:-1] and named[0] in QUALITIES | set(SIDES):
            named = named[1:]
        if named[0] not in known:
            found.append(named[0])
    return list(dict.fromkeys(found))


def _noun(word: str, singular: dict[str, str], there: set[str]) -> bool:
    noun = singular.get(word, word)
    return noun in KNOWN_NOUNS or noun in there


def strange_steps(instruction: str, scene: Scene, plan: Sequence[Goal], done: Sequence[Goal] = ()) -> list[str]:
    """Return where a plan and the names in its instruction do not agree, one sentence each."""
    text = " ".join(words_of(instruction))
    loose = LOOSE.search(text) is not None
    problems = [
        f"the plan moves the {goal.object}, which the instruction does not mention"
        for goal in plan
        if not loose and not _hinted(goal.object, text)
    ]
    problems += [
        f"the plan uses the {goal.target}, which the instruction does not mention"
        for goal in plan
        if goal.target is not None
        and not loose
        and "there" not in text
        and "same" not in text
        and not _hinted(goal.target, text)
    ]
    return list(dict.fromkeys(problems)) or _forgotten(text, scene, (*plan, *done))


def sayable(instruction: str, scene: Scene) -> Scene:
    """Return the part of a scene that an instruction can be about; all of it if that is said without names."""
    text = " ".join(words_of(instruction))
    if LOOSE.search(text):
        return scene
    objects = tuple(name for name in scene.objects if _hinted(name, text))
    targets = tuple(name for name in scene.targets if _hinted(name, text))
    return Scene(objects or scene.objects, targets if targets and "there" not in text else scene.targets, scene.holding)


def _hinted(name: str, text: str) -> bool:
    """Tell whether any word of a name, or its plural, is in the text."""
    words = words_of(name)
    return any(re.search(rf"\b({re.escape(w)}|{re.escape(plural(w))})\b", text) for w in words)


def _forgotten(text: str, scene: Scene, plan: Sequence[Goal]) -> list[str]:
    if EXCEPT.search(text):
        return []
    moved = {goal.object for goal in plan}
    full = [name for name in scene.objects if re.search(rf"\b{re.escape(' '.join(words_of(name)))}\b", text)]
    return [f"the plan leaves out the {name}, which the instruction names" for name in full if name not in moved]
