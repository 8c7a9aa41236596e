"""Random (scene, done, instruction) -> plan examples: what the embedded planner is trained and measured on.

A plan is the faithful translation of the instruction. One example in twenty asks for something impossible; the
planner translates it all the same, and `plan_check` is what refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from waldo.sim.tasks.goal import Goal, Scene
from waldo.train.planner import words as words
from waldo.train.planner.plan_check import plan_problems
from waldo.train.planner.references import Talk, group_of, listed, many_objects, one_object, one_target
from waldo.train.planner.scene import Name, held_out, random_scene

SPLITS = ("train", "combinations", "phrasings", "nouns")
"""Training, and what it never sees: object x target combinations, ways to say it, names of things."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One pair: what the planner is given and what it shall answer."""

    scene: Scene
    """What is there."""
    done: tuple[Goal, ...]
    """Steps already carried out."""
    instruction: str
    """What was asked, in lower case."""
    plan: tuple[Goal, ...]
    """The steps that remain, in order."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing asked, in the forms that a sentence may need."""

    text: str
    """As an order or a statement: "put the red cube in the bin"."""
    gerund: str
    """As an activity: "putting the red cube in the bin"."""
    state: str
    """As what holds afterwards: "the red cube is in the bin"."""
    steps: tuple[Goal, ...]
    """What it means."""
    order: bool
    """True for an order, to which "please" can be put; False for a statement."""


class _DeadEndError(Exception):
    """The draws so far cannot be completed; draw again."""


def gerund(verb: str) -> str:
    """Return the -ing form of a verb."""
    if verb in words.GERUNDS:
        return words.GERUNDS[verb]
    return (verb[:-1] if verb.endswith("e") else verb) + "ing"


class Speaker:
    """Says random things about one scene, and knows what they mean."""

    def __init__(self, rng: Random, split: str, possible: bool, plain: bool) -> None:
        """Take the source of chance, the split, whether what is asked shall be possible, and said plainly."""
        self.rng, self.split, self.possible, self.plain = rng, split, possible, plain
        self.named = random_scene(rng, "unseen" if split == "nouns" else "seen", plain=plain)
        self.talk = Talk(self.named)
        self.used: list[Name] = []
        self.said_held_out = False

    def choose(self, trained: Sequence[str], kept: Sequence[str] = ()) -> str:
        """Draw a phrase; in the split "phrasings" often one that training never shows."""
        if kept and self.split == "phrasings" and self.rng.random() < 0.4:
            self.said_held_out = True
            return self.rng.choice(kept)
        return self.rng.choice(trained)

    def fill(self, template: str, **slots: str) -> str:
        """Fill a template's slots; {in} is drawn."""
        template = template.replace("{in}", self.rng.choice(words.IN))
        for key, text in slots.items():
            template = template.replace("{" + key + "}", text)
        return template

    # -- what is talked about -------------------------------------------------------------------

    def pick_objects(self, first: bool, single: bool) -> tuple[str, list[Name]]:
        """Choose what a clause is about: a phrase and the objects in the order of the plan."""
        held, rng = self.named.holding, self.rng
        free = [n for n in self.named.objects if not self.possible or (n not in self.used and (first or n != held))]
        if not free:
            raise _DeadEndError
        must = held if self.possible and first else None
        draw = rng.random()
        if not single and draw < 0.22 and (group := group_of(rng, self.talk, free)):
            phrase, names = group
        elif not single and draw < 0.34 and len(free) > 1:
            names = rng.sample(free, min(len(free), rng.choice((2, 2, 2, 3))))
            if must:
                names = [must, *(n for n in names if n != must)]
            phrase = many_objects(rng, self.talk, names)
        else:
            names = [must or rng.choice(free)]
            phrase = one_object(rng, self.talk, names[0])
        if must and names[0] != must:
            raise _DeadEndError
        self.used += names
        return phrase, names

    def pick_target(self, names: list[Name]) -> tuple[str, Name]:
        """Choose where things go: a phrase and the place."""
        allowed = [
            t for t in self.named.targets if self.split != "train" or not any(held_out(n.full, t.full) for n in names)
        ]
        if not allowed:
            raise _DeadEndError
        if self.split == "combinations" and (
            new := [t for t in allowed if any(held_out(n.full, t.full) for n in names)]
        ):
            allowed = new
        place = self.rng.choice(allowed)
        return one_target(self.rng, self.talk, place), place

    # -- clauses --------------------------------------------------------------------------------

    def put(self, first: bool, gapped: bool, plain: bool) -> Clause:
        """Ask for something to be put somewhere; `gapped` leaves the verb out, `plain` keeps to the verb alone."""
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
        """Draw how a put is said: the template, and whether it is an order."""
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
        """Ask for something to be lifted or handed over."""
        rng, lift = self.rng, skill == "lift"
        phrase, names = self.pick_objects(first, single=lift)
        if lift and self.possible and names[0] == self.named.holding:
            raise _DeadEndError
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
        """Ask for one thing; `first` and `last` are its place in the plan, not in the sentence."""
        draw = self.rng.random()
        if gapped or (draw < 0.74 and self.named.targets):
            return self.put(first, gapped, plain)
        if draw < 0.87 and (last or not self.possible):
            return self.take("lift", first, plain)
        return self.take("hand_over", first, plain)

    # -- sentences ------------------------------------------------------------------------------

    def say(self) -> tuple[str, list[Goal]]:
        """Say something: the instruction and its plan."""
        draw = self.rng.random()
        if draw < 0.04:
            return self.respectively()
        if draw < 0.08:
            return self.sort_by_colour()
        count = self.rng.choice((1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3) if self.plain else (1, 1, 1, 2, 2, 2, 2, 3, 3))
        if count == 1:
            clause = self.clause(True, True)
            return self.decorated(clause.text, clause.order), list(clause.steps)
        if self.rng.random() < 0.4:
            return self.pair(more=count == 3)
        return self.chain(count)

    def chain(self, count: int) -> tuple[str, list[Goal]]:
        """Say things one after the other: "A, then B, and finally C"."""
        rng = self.rng
        clauses = [self.clause(True, False)]
        text = self.decorated(clauses[0].text, clauses[0].order, end=False)
        for index in range(1, count):
            final = index == count - 1
            join = self.choose(words.FORWARD, words.HELD_OUT_FORWARD)
            if final and rng.random() < 0.12:
                join = rng.choice(words.LAST)
            all_put = all(s.skill == "put" for c in clauses for s in c.steps)
            gapped = all_put and "ger" not in join and "you {B}" not in join and rng.random() < 0.4
            clause = self.clause(False, final, gapped=gapped, plain="ger" in join)
            text += put_in(join, b=clause)
            clauses.append(clause)
        return self.avoided(text), [s for c in clauses for s in c.steps]

    def pair(self, more: bool) -> tuple[str, list[Goal]]:
        """Say two things in a sentence that orders them, perhaps the later one first, and perhaps a third."""
        rng = self.rng
        if rng.random() < 0.5:
            frame, reverse = self.choose(words.PAIRS, words.HELD_OUT_PAIRS), False
        else:
            frame, reverse = self.choose(words.REVERSED, words.HELD_OUT_REVERSED), True
        plain = {key: "{" + key + ":" in frame for key in "AB"}
        if reverse and frame.index("{B") < frame.index("{A"):
            b = self.clause(False, not more, plain=plain["B"])
            a = self.clause(True, False, plain=plain["A"])
        else:
            a = self.clause(True, False, plain=plain["A"])
            gapped = "{B:" not in frame and not reverse and a.steps[0].skill == "put" and rng.random() < 0.25
            b = self.clause(False, not more, plain=plain["B"], gapped=gapped)
        text, steps = put_in(frame, a=a, b=b), [*a.steps, *b.steps]
        if more:
            c = self.clause(False, True)
            text += put_in(
                rng.choice((", then {B}", ". then {B}", ", and finally {B}", ". finally, {B}", ". after that {B}")), b=c
            )
            steps += c.steps
        if rng.random() < 0.12:
            text = self.fill(
                rng.choice(("please {X}", "robot, {X}", "{X}, please", "{X} please", "now {X}", "ok, {X}")), X=text
            )
        return text, steps

    def respectively(self) -> tuple[str, list[Goal]]:
        """Say "put A and B in S and T respectively"."""
        named, rng = self.named, self.rng
        if len(named.objects) < 2 or len(named.targets) < 2 or named.holding:
            raise _DeadEndError
        objects, targets = rng.sample(named.objects, 2), rng.sample(named.targets, 2)
        self.used += objects
        template = f"{rng.choice(words.PUT_VERBS)} {{O}} {{in}} {{T}}{rng.choice((', respectively', ' respectively'))}"
        object_text, target_text = (" and ".join("the " + n.full for n in names) for names in (objects, targets))
        text = self.fill(template, O=object_text, T=target_text)
        return self.decorated(text, True), [Goal("put", o.full, t.full) for o, t in zip(objects, targets, strict=True)]

    def sort_by_colour(self) -> tuple[str, list[Goal]]:
        """Say "sort the cubes: red in the left bin, blue in the right one"."""
        named, rng = self.named, self.rng
        nouns = {n.noun for n in named.objects}
        clash = {n.quality for n in named.objects} & {t.quality for t in named.targets}
        if len(nouns) != 1 or clash or not named.targets or named.holding or not all(n.quality for n in named.objects):
            raise _DeadEndError
        names = rng.sample(named.objects, rng.randint(1, len(named.objects)))
        self.used += names
        parts: list[str] = []
        steps: list[Goal] = []
        many = rng.random() < 0.3
        for name in names:
            phrase, place = self.pick_target([name])
            colour = f"the {name.quality} ones" if many else name.quality
            parts.append(
                self.fill(
                    rng.choice(("{O} {in} {T}", "{O} {in} {T}", "{O} goes {in} {T}", "{O}: {T}")), O=colour, T=phrase
                )
            )
            steps.append(Goal("put", name.full, place.full))
        opening = rng.choice(
            ("sort the {X}: ", "sort the {X}. ", "put the {X} away: ", "tidy up the {X}: ", "by colour: ", "{X}: ")
        )
        from waldo.train.planner.references import plural

        return opening.replace("{X}", plural(names[0].noun)) + listed(rng, parts), steps

    def decorated(self, text: str, order: bool, end: bool = True) -> str:
        """Add politeness, an aside about what is not to be touched, or a slip of the tongue."""
        rng = self.rng
        wrap = rng.random() < (0.7 if self.split == "phrasings" else 0.35)
        if order and wrap:
            wrapper = self.choose(words.WRAPPERS, words.HELD_OUT_WRAPPERS)
            if end or wrapper.endswith("{X}"):
                text = self.fill(wrapper, X=text)
        return self.avoided(text) if end else text

    def avoided(self, text: str) -> str:
        """Now and then name an object that must not be touched, or correct oneself."""
        rng, draw = self.rng, self.rng.random()
        others = [n for n in self.named.objects if n not in self.used and n != self.named.holding]
        if not others or draw > 0.12:
            return text
        other = rng.choice(others)
        if draw < 0.06:
            return text + self.fill(rng.choice(words.AVOID), X="the " + other.full)
        if draw < 0.085:
            return self.fill(rng.choice(words.AVOID_FIRST), X="the " + other.full, A=text)
        right = "the " + self.used[0].full
        if text.count(right) != 1:
            return text
        slip = self.fill(rng.choice(words.CORRECTIONS), X="the " + other.full, O=right)
        return text.replace(right, slip).replace(",,", ",")


def put_in(frame: str, *, a: Clause | None = None, b: Clause | None = None) -> str:
    """Fill {A}, {B:ger}, {A:state} ... of a frame with clauses."""
    for key, clause in (("A", a), ("B", b)):
        if clause is not None:
            frame = frame.replace("{" + key + ":ger}", clause.gerund).replace("{" + key + ":state}", clause.state)
            frame = frame.replace("{" + key + "}", clause.text)
    return frame


def pseudo_word(rng: Random) -> str:
    """Return a word that means nothing: what stands where a verb belongs is a verb, known or not."""
    return "".join(
        rng.choice("bcdfghklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.choice((1, 2, 2)))
    ) + rng.choice("bdgkmnprst")


def misspelt(rng: Random, text: str) -> str:
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


def _wanted(speaker: Speaker, plan: list[Goal], split: str) -> bool:
    new = [g for g in plan if g.target is not None and held_out(g.object, g.target)]
    if split == "combinations":
        return bool(new)
    if split == "phrasings":
        return speaker.said_held_out and not new
    if split == "nouns":
        return any(g.object.split()[-1] in words.HELD_OUT_NOUNS for g in plan)
    return not new


def sample(rng: Random, split: str = "train", *, possible: bool | None = None, plain: bool = False) -> Example:
    """Draw one example of a split; `possible` forces a plan that the checker accepts (or, False, refuses).

    `plain` draws what people mostly say, one or two clauses and few objects; else half of it is long and winding.
    """
    wish = rng.random() > 0.05 if possible is None else possible
    while True:
        speaker = Speaker(rng, split, wish, plain)
        try:
            text, plan = speaker.say()
        except _DeadEndError:
            continue
        if len(plan) > 8 or len(text) > 260 or not _wanted(speaker, plan, split):
            continue
        scene = speaker.named.scene
        if not wish and not plan_problems(plan, scene):
            continue
        done: list[Goal] = []
        if wish and split == "train" and rng.random() < 0.18:
            done = plan[: rng.randint(1, len(plan))]
            if len(done) == len(plan) and rng.random() < 0.7:
                done = done[:-1]
            held = done[-1].object if done and done[-1].skill == "lift" else scene.holding if not done else None
            scene = Scene(scene.objects, scene.targets, held)
        if split == "train" and rng.random() < 0.04:
            text = misspelt(rng, text)
        text += rng.choice(
            ("", "", ".", ".", "!", "?" if text.startswith(("can", "could", "would", "will", "may")) else "")
        )
        return Example(scene=scene, done=tuple(done), instruction=text.strip(), plan=tuple(plan[len(done) :]))
