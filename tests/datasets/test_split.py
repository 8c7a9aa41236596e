import pytest

from waldo.datasets.catalog import Entry
from waldo.datasets.split import split
from waldo.errors import ConfigError


def entries(*tasks):
    return [Entry(n, task, "success", "operator", 0, 1.0, 1, 0, None, 1) for n, task in enumerate(tasks)]


def test_split_gives_each_part_its_fraction_of_each_task():
    found = split(entries(*"ab" * 50), {"train": 0.8, "val": 0.2}, seed=1)
    assert (len(found["train"]), len(found["val"])) == (80, 20)
    assert sorted(found["train"] + found["val"]) == list(range(100))
    assert sum(index % 2 for index in found["val"]) == 10
    assert found == split(entries(*"ab" * 50), {"train": 0.8, "val": 0.2}, seed=1)
    assert found != split(entries(*"ab" * 50), {"train": 0.8, "val": 0.2}, seed=2)


def test_split_of_many_tasks_keeps_the_fractions():
    found = split(entries(*map(str, range(50))), {"train": 0.9, "val": 0.1}, seed=0)
    assert (len(found["train"]), len(found["val"])) == (45, 5)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"a": 0.9, "b": 0.2}, "the sum of the fractions is 1.1, expected at most 1"),
        ({"a": 1.5}, "part a is 1.5, expected a fraction above 0 and at most 1"),
        ({"a": {1, 2}, "b": {2}}, "episode 2 is in both a and b; assign it to one part"),
        ({"a": {70}}, "part a would contain no episode (of 4 episodes); give it more episodes"),
        ({"a": {1}, "b": 0.5}, "parts a, b mix fractions and episodes; use one kind for all parts"),
        ({"a": 0.9, "b": 0.01}, "part b would contain no episode (of 4 episodes); give it more episodes"),
    ],
)
def test_invalid_splits_are_refused(parts, message):
    with pytest.raises(ConfigError) as error:
        split(entries("a", "a", "b", "b"), parts, 0)
    assert str(error.value) == message
