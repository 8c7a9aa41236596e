import pytest

from waldo.datasets.catalog import Entry
from waldo.datasets.selection import Selection


@pytest.fixture
def dataset(record, script):
    """Three short episodes: a success, a failure with another task and a lost message, and one with hot motors."""
    return record(
        script(seconds=0.2),
        script(seconds=0.5, outcome="failure", task="put it down", without_rows=[3]),
        script(seconds=0.3, winding_c=61.5, outcome="unknown"),
    )


def test_selection(dataset):
    def of(**filters):
        return dataset.select(Selection(**filters))

    assert of() == [0, 1, 2]
    assert of(outcome=("success", "unknown")) == [0, 2]
    assert of(task=("put*",)) == of(task=("put it down",)) == [1]
    assert of(episodes="1-7") == [1, 2]
    assert of(min_duration_s=0.25) == [1, 2]
    assert of(min_duration_s=0.25, max_duration_s=0.4) == [2]
    assert of(max_lost=0) == [0, 2]
    assert of(max_winding_c=50) == [0, 1]
    assert of(min_winding_c=50) == [2]
    assert of(reason=("interrupted",)) == []


def test_episode_without_temperatures_matches_no_temperature_filter():
    entry = Entry(0, "t", "success", "operator", 0, 1.0, 1, 0, None, 1)
    assert Selection(max_winding_c=100).of([entry]) == []
    assert Selection().of([entry]) == [0]
