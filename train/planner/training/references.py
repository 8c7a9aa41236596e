"""Noun phrases of the synthetic grammar: references to objects and targets that depend on the preceding text."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from waldo.train.planner.plural import plural
from waldo.train.planner.training.scene import Name, NamedScene
from waldo.train.planner.words import SIDES


@dataclass(slots=True)
class Discourse:
    """The references so far, in the order of the text (not of the plan)."""

    scene: NamedScene
    """The scene."""
    objects: list[Name] = field(default_factory=list)
    """Objects mentioned, latest last."""
    targets: list[Name] = field(default_factory=list)
    """Targets mentioned, latest last."""


def one_object(rng: Random, discourse: Discourse, name: Name) -> str:
    """Return an unambiguous reference to an object."""
    phrases = ["the " + name.full] * 10 + [name.full] * 2 + [rng.choice(("that ", "this ", "our ")) + name.full]
    objects, scene = discourse.scene.objects, discourse.scene
    same_noun = [n for n in objects if n.noun == name.noun]
    if len(same_noun) == 1 and name.quality:
        phrases += [f"the {name.noun}"] * 3 + [name.noun]
    if name.quality and [n.quality for n in (*objects, *scene.targets)].count(name.quality) == 1:
        phrases += [f"the {name.quality} {w}" for w in ("one", "one", "thing", "object", "item")]
        phrases += [f"the {name.noun} that is {name.quality}", f"the {name.quality} coloured {name.noun}"]
        if discourse.objects and discourse.objects[-1].noun == name.noun and discourse.objects[-1] != name:
            phrases += [f"the {name.quality} one"] * 8
    elif (
        name.quality
        and discourse.objects
        and discourse.objects[-1].noun == name.noun != ""
        and discourse.objects[-1] != name
    ):
        phrases += [f"the {name.quality} one"] * 4
    if len(discourse.objects) == 1 and discourse.objects[0] != name:
        if len(objects) == 2:
            phrases += ["the other one"] * 4 + ["the other thing", "the other object", "the remaining one"]
        if len(same_noun) == 2 and discourse.objects[0].noun == name.noun:
            phrases += [f"the other {name.noun}"] * 5 + [f"the remaining {name.noun}"]
    unsaid = [n for n in objects if n not in discourse.objects]
    if discourse.objects and unsaid == [name]:
        phrases += ["the last one", "the last " + name.noun, "the remaining one"]
    if scene.holding == name and not discourse.objects:
        phrases += ["it"] * 6 + ["what you are holding", "the thing in your hand", "what you hold", "this"]
        phrases += [f"the {rng.choice((name.noun, 'object', 'one'))} in your {rng.choice(('hand', 'gripper'))}"]
    discourse.objects.append(name)
    return rng.choice(phrases)


def one_target(rng: Random, discourse: Discourse, name: Name) -> str:
    """Return an unambiguous reference to a target."""
    targets, scene = discourse.scene.targets, discourse.scene
    phrases = ["the " + name.full] * 8 + [name.full] * 2
    same_noun = [n for n in targets if n.noun == name.noun]
    if len(same_noun) == 1 and name.quality:
        phrases += [f"the {name.noun}"] * 3
    if name.quality in SIDES:
        side = name.quality
        phrases += [f"the {name.noun} {'in' if side == 'middle' else 'on'} the {side}"]
        phrases += [f"the {side}-hand {name.noun}", f"the {side} hand {name.noun}"] * (side in ("left", "right"))
        if [n.quality for n in targets].count(side) == 1:
            phrases += [f"the {side} one"] * (4 if discourse.targets else 1) + [f"the {side}"]
    elif (
        name.quality and discourse.targets and discourse.targets[-1].noun == name.noun and discourse.targets[-1] != name
    ):
        others = [n.quality for n in (*scene.objects, *targets)]
        phrases += [f"the {name.quality} one"] * (3 if others.count(name.quality) == 1 else 0)
    if discourse.targets and set(discourse.targets) == {name}:
        phrases += ["there"] * 2 + [f"the same {name.noun}"] * 3 + ["the same place", "the same one"]
    if discourse.targets and len(targets) == 2 and discourse.targets[-1] != name:
        phrases += ["the other one"]
        if len(same_noun) == 2:
            phrases += [f"the other {name.noun}"] * 5
    discourse.targets.append(name)
    return rng.choice(phrases)


def listed(rng: Random, words: list[str]) -> str:
    """Join phrases to a list with a conjunction."""
    if len(words) == 1:
        return words[0]
    last = rng.choice((" and ", " and ", ", and ", " as well as ", " and also ")) if rng.random() < 0.9 else ", "
    return ", ".join(words[:-1]) + last + words[-1]


def many_objects(rng: Random, discourse: Discourse, names: list[Name]) -> str:
    """Return a reference to two or more objects, one by one or in a shorter form."""
    forms: list[str] = []
    nouns = {n.noun for n in names}
    if len(nouns) == 1 and all(n.quality for n in names):
        colors = [n.quality for n in names]
        forms.append(f"the {listed(rng, colors)} {plural(names[0].noun)}")
        forms.append(f"{listed(rng, ['the ' + c for c in colors])} {names[0].noun}")
    if len(names) == 2:
        forms.append("both " + " and ".join(f"the {n.full}" for n in names))
    if forms and rng.random() < 0.45:
        discourse.objects.extend(names)
        return rng.choice(forms)
    return listed(rng, [one_object(rng, discourse, n) for n in names])


def group_of(rng: Random, discourse: Discourse, free: list[Name]) -> tuple[str, list[Name]] | None:
    """Return a reference to a group ("all the cubes") and its objects in scene order; None if there is none."""
    scene = discourse.scene
    kind = rng.choice(("noun", "noun", "noun", "color", "all", "all", "rest", "rest", "but", "but"))
    every, of = scene.objects, rng.choice(scene.objects)
    if kind == "noun":
        members = [n for n in every if n.noun == of.noun]
        many, one = plural(of.noun), of.noun
    elif kind == "color":
        members = [n for n in every if n.quality == of.quality]
        noun = rng.choice(("thing", "object", "item", "one"))
        many, one = f"{of.quality} {noun}s", f"{of.quality} {noun}"
        if not of.quality or any(of.quality == t.quality for t in scene.targets):
            return None
    elif kind == "but":
        return _all_but(rng, discourse, of, free)
    else:
        noun = rng.choice(("object", "thing", "item"))
        members, many, one = list(every), noun + "s", noun
        if len({n.noun for n in every}) == 1 and rng.random() < 0.5:
            many, one = plural(of.noun), of.noun
    if kind == "rest":
        members = [n for n in members if n not in discourse.objects]
        rest = [
            "the rest",
            "everything else",
            f"the other {many}",
            f"the remaining {many}",
            "the others",
            f"all the other {many}",
        ]
        phrase = rng.choice([*rest, "all the rest", "the rest of them", f"every other {one}", "whatever is left"])
        if not discourse.objects or len(members) < 2 or set(members) - set(free):
            return None
    else:
        if len(members) < 2 or set(members) - set(free):
            return None
        phrases = [f"all the {many}", f"all {many}", f"every {one}", f"each {one}", f"the {many}", f"all of the {many}"]
        if kind == "all":
            phrases += ["everything", "everything", "all of them", "the lot", "everything on the table", "them all"]
        if len(members) == 2:
            phrases += [f"both {many}", f"both {many}", f"both the {many}", f"the two {many}", f"both of the {many}"]
        if len(members) == 3:
            phrases += [f"all three {many}", f"the three {many}"]
        phrase = rng.choice(phrases)
    discourse.objects.extend(members)
    return phrase, _held_first(scene, members)


def _all_but(rng: Random, discourse: Discourse, spared: Name, free: list[Name]) -> tuple[str, list[Name]] | None:
    """Return a reference such as "every cube except the red one" and the remaining objects."""
    of_noun = rng.random() < 0.5 or len({n.noun for n in discourse.scene.objects}) == 1
    members = [n for n in discourse.scene.objects if n != spared and (not of_noun or n.noun == spared.noun)]
    if not members or set(members) - set(free) or discourse.scene.holding == spared:
        return None
    every = [
        f"all the {plural(spared.noun)}",
        f"every {spared.noun}",
        f"all {plural(spared.noun)}",
        f"the {plural(spared.noun)}",
    ]
    if not of_noun:
        every = ["everything", "all the objects", "every object", "all objects", "all the things"]
    but = rng.choice(("except", "except for", "but", "apart from", "other than", "besides", "but not", "excluding"))
    spared_phrase = rng.choice(
        [f"the {spared.full}", f"the {spared.full}"]
        + [f"the {spared.quality} one"] * (of_noun and spared.quality != "")
    )
    discourse.objects.extend(members)
    return f"{rng.choice(every)} {but} {spared_phrase}", _held_first(discourse.scene, members)


def _held_first(scene: NamedScene, members: list[Name]) -> list[Name]:
    """Return the members in scene order, but the held object first, as the hand must be emptied before."""
    return sorted(members, key=lambda n: n != scene.holding)


SORT_OPENINGS = (
    "sort the {X}: ",
    "sort the {X}. ",
    "put the {X} away: ",
    "tidy up the {X}: ",
    "by colour: ",
    "{X}: ",
)
"""Openings of an instruction that sorts objects by color."""
