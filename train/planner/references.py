"""Noun phrases: how a speaker refers to objects and places, with what was said before in mind."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from waldo.train.planner.scene import Name, NamedScene
from waldo.train.planner.words import SIDES


@dataclass(slots=True)
class Talk:
    """What has been said so far, in the order of the words (not of the plan)."""

    scene: NamedScene
    """The scene that is talked about."""
    objects: list[Name] = field(default_factory=list)
    """Objects mentioned, latest last."""
    targets: list[Name] = field(default_factory=list)
    """Places mentioned, latest last."""


def plural(noun: str) -> str:
    """Return the plural of a noun."""
    irregular = {"knife": "knives", "loaf": "loaves", "scissors": "scissors", "pliers": "pliers", "tongs": "tongs"}
    if noun in irregular:
        return irregular[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def one_object(rng: Random, talk: Talk, name: Name) -> str:
    """Refer to one object so that it cannot be mistaken for another."""
    phrases = ["the " + name.full] * 10 + [name.full] * 2 + [rng.choice(("that ", "this ", "our ")) + name.full]
    objects, scene = talk.scene.objects, talk.scene
    same_noun = [n for n in objects if n.noun == name.noun]
    if len(same_noun) == 1 and name.quality:
        phrases += [f"the {name.noun}"] * 3 + [name.noun]
    if name.quality and [n.quality for n in (*objects, *scene.targets)].count(name.quality) == 1:
        phrases += [f"the {name.quality} {w}" for w in ("one", "one", "thing", "object", "item")]
        phrases += [f"the {name.noun} that is {name.quality}", f"the {name.quality} coloured {name.noun}"]
        if talk.objects and talk.objects[-1].noun == name.noun and talk.objects[-1] != name:
            phrases += [f"the {name.quality} one"] * 8
    elif name.quality and talk.objects and talk.objects[-1].noun == name.noun != "" and talk.objects[-1] != name:
        phrases += [f"the {name.quality} one"] * 4
    if len(talk.objects) == 1 and talk.objects[0] != name:
        if len(objects) == 2:
            phrases += ["the other one"] * 4 + ["the other thing", "the other object", "the remaining one"]
        if len(same_noun) == 2 and talk.objects[0].noun == name.noun:
            phrases += [f"the other {name.noun}"] * 5 + [f"the remaining {name.noun}"]
    unsaid = [n for n in objects if n not in talk.objects]
    if talk.objects and unsaid == [name]:
        phrases += ["the last one", "the last " + name.noun, "the remaining one"]
    if scene.holding == name and not talk.objects:
        phrases += ["it"] * 6 + ["what you are holding", "the thing in your hand", "what you hold", "this"]
        phrases += [f"the {rng.choice((name.noun, 'object', 'one'))} in your {rng.choice(('hand', 'gripper'))}"]
    talk.objects.append(name)
    return rng.choice(phrases)


def one_target(rng: Random, talk: Talk, name: Name) -> str:
    """Refer to one place so that it cannot be mistaken for another."""
    targets, scene = talk.scene.targets, talk.scene
    phrases = ["the " + name.full] * 8 + [name.full] * 2
    same_noun = [n for n in targets if n.noun == name.noun]
    if len(same_noun) == 1 and name.quality:
        phrases += [f"the {name.noun}"] * 3
    if name.quality in SIDES:
        side = name.quality
        phrases += [f"the {name.noun} {'in' if side == 'middle' else 'on'} the {side}"]
        phrases += [f"the {side}-hand {name.noun}", f"the {side} hand {name.noun}"] * (side in ("left", "right"))
        if [n.quality for n in targets].count(side) == 1:
            phrases += [f"the {side} one"] * (4 if talk.targets else 1) + [f"the {side}"]
    elif name.quality and talk.targets and talk.targets[-1].noun == name.noun and talk.targets[-1] != name:
        others = [n.quality for n in (*scene.objects, *targets)]
        phrases += [f"the {name.quality} one"] * (3 if others.count(name.quality) == 1 else 0)
    if talk.targets and set(talk.targets) == {name}:
        phrases += ["there"] * 2 + [f"the same {name.noun}"] * 3 + ["the same place", "the same one"]
    if talk.targets and len(targets) == 2 and talk.targets[-1] != name:
        phrases += ["the other one"]
        if len(same_noun) == 2:
            phrases += [f"the other {name.noun}"] * 5
    talk.targets.append(name)
    return rng.choice(phrases)


def listed(rng: Random, words: list[str]) -> str:
    """Join phrases as a spoken list."""
    if len(words) == 1:
        return words[0]
    last = rng.choice((" and ", " and ", ", and ", " as well as ", " and also ")) if rng.random() < 0.9 else ", "
    return ", ".join(words[:-1]) + last + words[-1]


def many_objects(rng: Random, talk: Talk, names: list[Name]) -> str:
    """Refer to two or more objects one by one, or in a shorter form where one fits."""
    forms: list[str] = []
    nouns = {n.noun for n in names}
    if len(nouns) == 1 and all(n.quality for n in names):
        colours = [n.quality for n in names]
        forms.append(f"the {listed(rng, colours)} {plural(names[0].noun)}")
        forms.append(f"{listed(rng, ['the ' + c for c in colours])} {names[0].noun}")
    if len(names) == 2:
        forms.append("both " + " and ".join(f"the {n.full}" for n in names))
    if forms and rng.random() < 0.45:
        talk.objects.extend(names)
        return rng.choice(forms)
    return listed(rng, [one_object(rng, talk, n) for n in names])


def group_of(rng: Random, talk: Talk, free: list[Name]) -> tuple[str, list[Name]] | None:
    """Return a phrase for a whole class of the objects ("all the cubes") and the objects, in scene order."""
    scene = talk.scene
    kind = rng.choice(("noun", "noun", "noun", "colour", "all", "all", "rest", "rest", "but", "but"))
    every, of = scene.objects, rng.choice(scene.objects)
    if kind == "noun":
        members = [n for n in every if n.noun == of.noun]
        many, one = plural(of.noun), of.noun
    elif kind == "colour":
        members = [n for n in every if n.quality == of.quality]
        thing = rng.choice(("thing", "object", "item", "one"))
        many, one = f"{of.quality} {thing}s", f"{of.quality} {thing}"
        if not of.quality or any(of.quality == t.quality for t in scene.targets):
            return None
    elif kind == "but":
        return _all_but(rng, talk, of, free)
    else:
        thing = rng.choice(("object", "thing", "item"))
        members, many, one = list(every), thing + "s", thing
        if len({n.noun for n in every}) == 1 and rng.random() < 0.5:
            many, one = plural(of.noun), of.noun
    if kind == "rest":
        members = [n for n in members if n not in talk.objects]
        rest = [
            "the rest",
            "everything else",
            f"the other {many}",
            f"the remaining {many}",
            "the others",
            f"all the other {many}",
        ]
        phrase = rng.choice([*rest, "all the rest", "the rest of them", f"every other {one}", "whatever is left"])
        if not talk.objects or len(members) < 2 or set(members) - set(free):
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
    talk.objects.extend(members)
    return phrase, _held_first(scene, members)


def _all_but(rng: Random, talk: Talk, spared: Name, free: list[Name]) -> tuple[str, list[Name]] | None:
    """Return a phrase such as "every cube except the red one" and what remains."""
    of_noun = rng.random() < 0.5 or len({n.noun for n in talk.scene.objects}) == 1
    members = [n for n in talk.scene.objects if n != spared and (not of_noun or n.noun == spared.noun)]
    if not members or set(members) - set(free) or talk.scene.holding == spared:
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
    talk.objects.extend(members)
    return f"{rng.choice(every)} {but} {spared_phrase}", _held_first(talk.scene, members)


def _held_first(scene: NamedScene, members: list[Name]) -> list[Name]:
    """Return the members in scene order, what is in the hand first: nothing else can be taken before it."""
    return sorted(members, key=lambda n: n != scene.holding)
