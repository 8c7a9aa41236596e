"""Random scenes for the training data of the toy planner, and the split that holds out combinations of names."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from random import Random

from waldo.sim.tasks.goal import Scene
from waldo.train.planner.words import COLORS, HELD_OUT_NOUNS, NOUNS, RARE_NOUNS, SIDES, TARGET_NOUNS


@dataclass(frozen=True, slots=True)
class Name:
    """A name in two parts: "red cube" is ("red", "cube"), "tray" is ("", "tray")."""

    quality: str
    """The distinguishing color or side; empty if there is none."""
    noun: str
    """The noun."""

    @property
    def full(self) -> str:
        """The name in the scene."""
        return f"{self.quality} {self.noun}".strip()


@dataclass(frozen=True, slots=True)
class NamedScene:
    """A scene with names in two parts."""

    objects: tuple[Name, ...]
    """Movable objects."""
    targets: tuple[Name, ...]
    """Targets."""
    holding: Name | None = None
    """The held object."""

    @property
    def scene(self) -> Scene:
        """The scene in the form that planners receive."""
        held = self.holding.full if self.holding else None
        return Scene(tuple(n.full for n in self.objects), tuple(n.full for n in self.targets), held)


def held_out(name: str, target: str) -> bool:
    """Return whether a combination of object and target is held out from training (one in eight is)."""
    return zlib.crc32(f"{name}|{target}".encode()) % 8 == 0


def random_noun(rng: Random, words: str) -> str:
    """Return a noun, mostly a common one; with `words="unseen"` mostly one that training never shows."""
    if words == "unseen" and rng.random() < 0.7:
        return rng.choice(HELD_OUT_NOUNS)
    return rng.choice(RARE_NOUNS) if rng.random() < 0.25 else rng.choice(NOUNS)


def random_objects(rng: Random, words: str, plain: bool) -> tuple[Name, ...]:
    """Draw 1 to 6 distinct objects in one of several styles; `plain` draws at most 4."""
    count = rng.choice((1, 2, 2, 3, 3, 3, 3, 4) if plain else (1, 2, 2, 3, 3, 3, 4, 4, 5, 6))
    style = rng.random()
    noun, color = random_noun(rng, words), rng.choice(COLORS)
    names: list[Name] = []
    while len(names) < count:
        if style < 0.4:  # one noun in many colors
            drawn = Name(rng.choice(COLORS), noun)
        elif style < 0.48:  # one color, many nouns
            drawn = Name(color, random_noun(rng, words))
        elif style < 0.6:  # no colors needed
            drawn = Name("", random_noun(rng, words))
        else:
            drawn = Name(rng.choice(COLORS) if rng.random() < 0.85 else "", random_noun(rng, words))
            if names and rng.random() < 0.35:
                drawn = Name(rng.choice(COLORS), names[-1].noun)
        # "cube" beside "red cube" would make "the cube" ambiguous.
        clash = any(n.noun == drawn.noun and "" in (n.quality, drawn.quality) for n in names)
        if drawn not in names and not clash:
            names.append(drawn)
    return tuple(names)


def random_targets(rng: Random, taken: set[str]) -> tuple[Name, ...]:
    """Draw 0 to 4 distinct targets with nouns that no object has."""
    nouns = [n for n in TARGET_NOUNS if n not in taken]
    style = rng.random()
    if style < 0.06:
        return ()
    noun = "bin" if style < 0.25 and "bin" in nouns else rng.choice(nouns)
    if style < 0.45:
        sides = ("left", "right") if style < 0.4 else tuple(rng.sample(SIDES, rng.choice((2, 3))))
        places = [Name(side, noun) for side in sides]
    elif style < 0.7:
        places = [Name("", n) for n in rng.sample(nouns, rng.choice((1, 1, 2, 2, 3)))]
    elif style < 0.85:
        places = [Name(color, noun) for color in rng.sample(COLORS, rng.choice((2, 2, 3)))]
    else:
        colors = rng.sample((*COLORS, *SIDES), 3)
        places = [Name(c, n) for c, n in zip(colors, rng.sample(nouns, rng.choice((1, 2, 3))), strict=False)]
    if rng.random() < 0.1 and len(places) < 3:
        other = rng.choice([n for n in nouns if n not in {p.noun for p in places}])
        places.append(Name("", other))
    rng.shuffle(places) if rng.random() < 0.3 else None
    return tuple(places)


def random_scene(rng: Random, words: str = "seen", *, plain: bool = False) -> NamedScene:
    """Draw a scene; `words="unseen"` includes nouns that training never shows."""
    objects = random_objects(rng, words, plain)
    targets = random_targets(rng, {n.noun for n in objects})
    holding = rng.choice(objects) if rng.random() < 0.12 else None
    return NamedScene(objects, targets, holding)
