"""Random clauses of the synthetic grammar: one request about one scene, and the steps that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from waldo.sim.tasks.goal import Goal
from waldo.train.planner import words
from waldo.train.planner.training.references import Discourse, group_of, many_objects, one_object, one_target
from waldo.train.planner.training.scene import Name, held_out, random_scene


@dataclass(frozen=True, slots=True)
class Clause:
    """One request in the forms that a sentence may need."""

    text: str
    """Imperative or statement: "put the red cube in the bin"."""
    gerund: str
    """Gerund: "putting the red cube in the bin"."""
    state: str
    """Resulting state: "the red cube is in the bin"."""
    steps: tuple[Goal, ...]
    """The steps that it requests."""
    is_imperative: bool
    """Whether it is an imperative, which can be combined with "please"."""


class DeadEndError(Exception):
    """A random draw that cannot be completed; the caller draws again."""


def gerund(verb: str) -> str:
    """Return the -ing form of a verb."""
    if verb in words.GERUNDS:
        return words.GERUNDS[verb]
    return (verb[:-1] if verb.endswith("e") else verb) + "ing"


class ClauseGenerator:
    """Draw clauses about one random scene together with the steps that they request.

    Args:
        rng: Source of randomness.
        split: One of `SPLITS`.
        possible: Whether the plan must be executable.
        plain: Draw common phrasings and small scenes only.
    """

    def __init__(self, rng: Random, split: str, possible: bool, plain: bool) -> None:
        self.rng, self.split, self.possible, self.plain = rng, split, possible, plain
        self.named = random_scene(rng, "unseen" if split == "nouns" else "seen", plain=plain)
        self.discourse = Discourse(self.named)
        self.used: list[Name] = []
        self.used_held_out = False

    def choose(self, trained: Sequence[str], kept: Sequence[str] = ()) -> str:
        """Draw a phrase; in the split "phrasings" often one that is held out from training."""
        if kept and self.split == "phrasings" and self.rng.random() < 0.4:
            self.used_held_out = True
            return self.rng.choice(kept)
        return self.rng.choice(trained)

    def fill(self, template: str, **slots: str) -> str:
        """Return a template with its slots filled; {in} is drawn."""
        template = template.replace("{in}", self.rng.choice(words.IN))
        for key, text in slots.items():
            template = template.replace("{" + key + "}", text)
        return template

    def pick_objects(self, first: bool, single: bool) -> tuple[str, list[Name]]:
        """Draw the objects of a clause; return a reference and the objects in the order of the plan."""
        held, rng = self.named.holding, self.rng
        free = [n for n in self.named.objects if not self.possible or (n not in self.used and (first or n != held))]
        if not free:
            raise DeadEndError
        must = held if self.possible and first else None
        draw = rng.random()
        if not single and draw < 0.22 and (group := group_of(rng, self.discourse, free)):
            phrase, names = group
        elif not single and draw < 0.34 and len(free) > 1:
            names = rng.sample(free, min(len(free), rng.choice((2, 2, 2, 3))))
            if must:
                names = [must, *(n for n in names if n != must)]
            phrase = many_objects(rng, self.discourse, names)
        else:
            names = [must or rng.choice(free)]
            phrase = one_object(rng, self.discourse, names[0])
        if must and names[0] != must:
            raise DeadEndError
        self.used += names
        return phrase, names

    def pick_target(self, names: list[Name]) -> tuple[str, Name]:
        """Draw the target of a clause; return a reference and the target."""
        allowed = [
            t for t in self.named.targets if self.split != "train" or not any(held_out(n.full, t.full) for n in names)
        ]
        if not allowed:
            raise DeadEndError
        if self.split == "combinations" and (
            new := [t for t in allowed if any(held_out(n.full, t.full) for n in names)]
        ):
            allowed = new
        place = self.rng.choice(allowed)
        return one_target(self.rng, self.discourse, place), place

    def put(self, first: bool, gapped: bool, plain: bool) -> Clause:
        """Draw a clause that puts objects into a target; `gapped` omits the verb, `plain` uses a simple verb."""
        rng = self.rng
        phrase, names = self.pick_objects(first, single=False)
        place_phrase, place = self.pick_target(names)
        template, order = self.put_template(gapped, plain)
        if "{it}" in template and len(names) == 1 and phrase in ("it", "this"):
            template = "put {O} {in} {T}"
        preposition = rng.choice(words.IN)
        slots = {"O": phrase, "T": place_phrase, "it": "it" if len(names) == 1 else "them", "in": preposition}
        if place_phrase == "there":
            template, order, slots["T"] = "put {O} {T}", True, "there"
        text = self.fill(template, **slots)
        verb = text.partition(" ")[0]
        be = "is" if len(names) == 1 else "are"
        state = rng.choice((f"{phrase} {be} in {place_phrase}", f"you have put {phrase} in {place_phrase}"))
        if place_phrase == "there":
            state = f"{phrase} {be} there"
        steps = tuple(Goal("put", n.full, place.full) for n in names)
        return Clause(text, gerund(verb) + text[len(verb) :], state, steps, order)

    def put_template(self, gapped: bool, plain: bool) -> tuple[str, bool]:
        """Draw the template of a put clause; return it and whether it is an imperative."""
        rng = self.rng
        if gapped:
            return rng.choice(words.GAPPED), False
        draw = rng.random()
        if plain or draw < 0.55:
            if draw < 0.03 or (self.split == "train" and 0.5 < draw < 0.52):
                verb = pseudo_word(rng)
            else:
                verb = self.choose(words.PUT_VERBS, words.HELD_OUT_PUT_VERBS)
            filler = rng.choice(words.FILLERS)
            shape = rng.random()
            if shape < 0.9:
                return f"{verb} {{O}} {{in}} {{T}}", True
            return (
                f"{filler} {verb} {{O}} {{in}} {{T}}"
                if shape < 0.93 and not plain
                else f"{verb} {{O}} {filler} {{in}} {{T}}"
            ), True
        if draw < 0.8:
            return self.choose(words.PUT_IMPERATIVES, words.HELD_OUT_PUT_IMPERATIVES), True
        return self.choose(words.PUT_STATEMENTS, words.HELD_OUT_PUT_STATEMENTS), False

    def take(self, skill: str, first: bool, plain: bool) -> Clause:
        """Draw a clause that lifts or hands over objects."""
        rng, lift = self.rng, skill == "lift"
        phrase, names = self.pick_objects(first, single=lift)
        if lift and self.possible and names[0] == self.named.holding:
            raise DeadEndError
        order = plain or rng.random() < 0.85
        if order:
            trained, kept = (
                (words.LIFT_IMPERATIVES, words.HELD_OUT_LIFT_IMPERATIVES)
                if lift
                else (words.HAND_IMPERATIVES, words.HELD_OUT_HAND_IMPERATIVES)
            )
            template = self.choose(trained, kept)
        else:
            template = rng.choice(words.LIFT_STATEMENTS if lift else words.HAND_STATEMENTS)
        it = "it" if len(names) == 1 else "them"
        text = self.fill(template, O=phrase, it=it)
        verb = text.partition(" ")[0]
        state = f"{phrase} is in the air" if lift else rng.choice((f"i have {phrase}", f"you have given me {phrase}"))
        return Clause(text, gerund(verb) + text[len(verb) :], state, tuple(Goal(skill, n.full) for n in names), order)

    def clause(self, first: bool, last: bool, *, gapped: bool = False, plain: bool = False) -> Clause:
        """Draw a clause; `first` and `last` refer to the plan, not to the sentence."""
        draw = self.rng.random()
        if gapped or (draw < 0.74 and self.named.targets):
            return self.put(first, gapped, plain)
        if draw < 0.87 and (last or not self.possible):
            return self.take("lift", first, plain)
        return self.take("hand_over", first, plain)


def pseudo_word(rng: Random) -> str:
    """Return a meaningless word, from which the model learns that any word in the place of a verb is a verb."""
    return "".join(
        rng.choice("bcdfghklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.choice((1, 2, 2)))
    ) + rng.choice("bdgkmnprst")
