from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.train.planner.format import normal, parse_plan, plan_json
from waldo.train.planner.grounding import unheard_names, unknown_mentions
from waldo.train.planner.plan_check import plan_problems
from waldo.train.planner.training.examples import SPLITS, sample
from waldo.train.planner.training.scene import held_out
from waldo.train.planner.words import HELD_OUT_NOUNS, HELD_OUT_PUT_VERBS

seeds = st.integers(min_value=0, max_value=2**32)
splits = st.sampled_from(SPLITS)


@given(seeds, splits, st.booleans())
def test_possible_plans_pass_the_check(seed: int, split: str, plain: bool) -> None:
    example = sample(Random(seed), split, possible=True, plain=plain)
    assert plan_problems(example.plan, example.scene, example.done) == []
    assert example.plan or example.done


@given(seeds)
def test_impossible_plans_are_refused(seed: int) -> None:
    example = sample(Random(seed), possible=False)
    assert plan_problems(example.plan, example.scene)


@given(seeds, splits)
def test_plans_survive_their_json(seed: int, split: str) -> None:
    example = sample(Random(seed), split)
    assert tuple(parse_plan(plan_json(example.plan))) == example.plan
    assert normal(example.instruction) == example.instruction


@given(seeds)
def test_training_never_shows_held_out_combinations_and_words(seed: int) -> None:
    example = sample(Random(seed))
    assert not any(g.target is not None and held_out(g.object, g.target) for g in (*example.plan, *example.done))
    spoken = set(example.instruction.replace(",", " ").replace(".", " ").split())
    assert not spoken & {*HELD_OUT_NOUNS, *HELD_OUT_PUT_VERBS}


@given(seeds)
def test_held_out_splits_contain_their_kind_of_example(seed: int) -> None:
    combination = sample(Random(seed), "combinations")
    assert any(g.target is not None and held_out(g.object, g.target) for g in combination.plan)
    noun = sample(Random(seed), "nouns")
    assert any(g.object.split()[-1] in HELD_OUT_NOUNS for g in noun.plan)


@pytest.mark.parametrize("split", SPLITS)
def test_names_in_the_scene_are_not_reported_as_absent(split: str) -> None:
    """Except misspelled ones, which one example in twenty-five of training has."""
    rng = Random(7)
    examples = [sample(rng, split, possible=True) for _ in range(400)]
    refused = [e for e in examples if unknown_mentions(e.instruction, e.scene) or unheard_names(e.instruction, e.scene)]
    assert len(refused) <= (12 if split == "train" else 4), [e.instruction for e in refused]


def test_the_same_seed_draws_the_same_examples() -> None:
    assert sample(Random(3)) == sample(Random(3))
    assert sample(Random(3)) != sample(Random(4))
