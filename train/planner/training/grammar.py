"""Random instructions of the synthetic grammar with their plans: sentences of one to three clauses."""

from __future__ import annotations

from waldo.sim.tasks.goal import Goal
from waldo.train.planner import words
from waldo.train.planner.plural import plural
from waldo.train.planner.training.clauses import Clause, ClauseGenerator, DeadEndError
from waldo.train.planner.training.references import SORT_OPENINGS, listed


class InstructionGenerator(ClauseGenerator):
    """Combine clauses to an instruction."""

    def instruction(self) -> tuple[str, list[Goal]]:
        """Draw an instruction; return it and its plan."""
        draw = self.rng.random()
        if draw < 0.04:
            return self.respectively()
        if draw < 0.08:
            return self.sort_by_color()
        count = self.rng.choice((1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3) if self.plain else (1, 1, 1, 2, 2, 2, 2, 3, 3))
        if count == 1:
            clause = self.clause(True, True)
            return self.decorated(clause.text, clause.is_imperative), list(clause.steps)
        if self.rng.random() < 0.4:
            return self.pair(more=count == 3)
        return self.chain(count)

    def chain(self, count: int) -> tuple[str, list[Goal]]:
        """Draw a sequence of clauses: "A, then B, and finally C"."""
        rng = self.rng
        clauses = [self.clause(True, False)]
        text = self.decorated(clauses[0].text, clauses[0].is_imperative, end=False)
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
        """Draw two clauses in a sentence that orders them, possibly in reverse, and possibly a third one."""
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
        """Draw "put A and B in S and T respectively"."""
        named, rng = self.named, self.rng
        if len(named.objects) < 2 or len(named.targets) < 2 or named.holding:
            raise DeadEndError
        objects, targets = rng.sample(named.objects, 2), rng.sample(named.targets, 2)
        self.used += objects
        template = f"{rng.choice(words.PUT_VERBS)} {{O}} {{in}} {{T}}{rng.choice((', respectively', ' respectively'))}"
        object_text, target_text = (" and ".join("the " + n.full for n in names) for names in (objects, targets))
        text = self.fill(template, O=object_text, T=target_text)
        return self.decorated(text, True), [Goal("put", o.full, t.full) for o, t in zip(objects, targets, strict=True)]

    def sort_by_color(self) -> tuple[str, list[Goal]]:
        """Draw "sort the cubes: red in the left bin, blue in the right one"."""
        named, rng = self.named, self.rng
        nouns = {n.noun for n in named.objects}
        clash = {n.quality for n in named.objects} & {t.quality for t in named.targets}
        if len(nouns) != 1 or clash or not named.targets or named.holding or not all(n.quality for n in named.objects):
            raise DeadEndError
        names = rng.sample(named.objects, rng.randint(1, len(named.objects)))
        self.used += names
        parts: list[str] = []
        steps: list[Goal] = []
        many = rng.random() < 0.3
        for name in names:
            phrase, place = self.pick_target([name])
            color = f"the {name.quality} ones" if many else name.quality
            parts.append(
                self.fill(
                    rng.choice(("{O} {in} {T}", "{O} {in} {T}", "{O} goes {in} {T}", "{O}: {T}")), O=color, T=phrase
                )
            )
            steps.append(Goal("put", name.full, place.full))
        opening = rng.choice(SORT_OPENINGS)
        return opening.replace("{X}", plural(names[0].noun)) + listed(rng, parts), steps

    def decorated(self, text: str, is_imperative: bool, end: bool = True) -> str:
        """Return the text with politeness, an object that must not be touched, or a self-correction, at random."""
        rng = self.rng
        wrap = rng.random() < (0.7 if self.split == "phrasings" else 0.35)
        if is_imperative and wrap:
            wrapper = self.choose(words.WRAPPERS, words.HELD_OUT_WRAPPERS)
            if end or wrapper.endswith("{X}"):
                text = self.fill(wrapper, X=text)
        return self.avoided(text) if end else text

    def avoided(self, text: str) -> str:
        """Return the text with an object that must not be touched or a self-correction, at random."""
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
    """Return a sentence frame with its slots {A}, {B:ger}, {A:state} ... replaced by clauses."""
    for key, clause in (("A", a), ("B", b)):
        if clause is not None:
            frame = frame.replace("{" + key + ":ger}", clause.gerund).replace("{" + key + ":state}", clause.state)
            frame = frame.replace("{" + key + "}", clause.text)
    return frame
