"""Random scenes for the planner's training data, and the split of names that keeps some unseen."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from random import Random

from waldo.sim.tasks.goal import Scene
from waldo.train.planner.words import COLOURS, HELD_OUT_NOUNS, NOUNS, RARE_NOUNS, SIDES, TARGET_NOUNS


@dataclass(frozen=True, slots=True)
class Name:
    """A name in two parts: "red cube" is ("red", "cube"), "tray" is ("", "tray")."""

    quality: str
    """What tells it from others: a colour or a side; empty if nothing does."""
    noun: str
    """What it is."""

    @property
    def full(self) -> str:
        """The name as the scene lists it."""
        return f"{self.quality} {self.noun}".strip()


@dataclass(frozen=True, slots=True)
class NamedScene:
    """A scene whose names are known in parts."""

    objects: tuple[Name, ...]
    """Things that can be moved."""
    targets: tuple[Name, ...]
    """Places."""
    holding: Name | None = None
    """The object in the hand."""

    @property
    def scene(self) -> Scene:
        """The scene as a planner sees it."""
        held = self.holding.full if self.holding else None
        return Scene(tuple(n.full for n in self.objects), tuple(n.full for n in self.targets), held)


def held_out(name: str, target: str) -> bool:
    """Tell whether an object x target combination is kept from training (one in eight is)."""
    return zlib.crc32(f"{name}|{target}".encode()) % 8 == 0


def random_noun(rng: Random, words: str) -> str:
    """Return a noun: mostly a common one, at times a rare one; with `words="unseen"` one never trained on."""
    if words == "unseen" and rng.random() < 0.7:
        return rng.choice(HELD_OUT_NOUNS)
    return rng.choice(RARE_NOUNS) if rng.random() < 0.25 else rng.choice(NOUNS)


def random_objects(rng: Random, words: str, plain: bool) -> tuple[Name, ...]:
    """Draw 1 to 6 distinct objects, in one of the ways that tables are laid; `plain` draws at most 4."""
    count = rng.choice((1, 2, 2, 3, 3, 3, 3, 4) if plain else (1, 2, 2, 3, 3, 3, 4, 4, 5, 6))
    style = rng.random()
    noun, colour = random_noun(rng, words), rng.choice(COLOURS)
    names: list[Name] = []
    while len(names) < count:
        if style < 0.4:  # one sort of thing in many colours
            drawn = Name(rng.choice(COLOURS), noun)
        elif style < 0.48:  # one colour, many sorts
            drawn = Name(colour, random_noun(rng, words))
        elif style < 0.6:  # no colours needed
            drawn = Name("", random_noun(rng, words))
        else:
            drawn = Name(rng.choice(COLOURS) if rng.random() < 0.85 else "", random_noun(rng, words))
            if names and rng.random() < 0.35:
                drawn = Name(rng.choice(COLOURS), names[-1].noun)
        # "cube" beside "red cube" would leave "the cube" without a meaning
        clash = any(n.noun == drawn.noun and "" in (n.quality, drawn.quality) for n in names)
        if drawn not in names and not clash:
            names.append(drawn)
    return tuple(names)


def random_targets(rng: Random, taken: set[str]) -> tuple[Name, ...]:
    """Draw 0 to 4 distinct places whose nouns no object has."""
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
        places = [Name(colour, noun) for colour in rng.sample(COLOURS, rng.choice((2, 2, 3)))]
    else:
        colours = rng.sample((*COLOURS, *SIDES), 3)
        places = [Name(c, n) for c, n in zip(colours, rng.sample(nouns, rng.choice((1, 2, 3))), strict=False)]
    if rng.random() < 0.1 and len(places) < 3:
        other = rng.choice([n for n in nouns if n not in {p.noun for p in places}])
        places.append(Name("", other))
    rng.shuffle(places) if rng.random() < 0.3 else None
    return tuple(places)


def random_scene(rng: Random, words: str = "seen", *, plain: bool = False) -> NamedScene:
    """Draw a scene; `words="unseen"` uses nouns that training never shows."""
    objects = random_objects(rng, words, plain)
    targets = random_targets(rng, {n.noun for n in objects})
    holding = rng.choice(objects) if rng.random() < 0.12 else None
    return NamedScene(objects, targets, holding)
