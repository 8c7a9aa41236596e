"""The record of a guided experiment and its file."""

import json
import math

import numpy as np
import pytest

from waldo.errors import FileError
from waldo.robots.guided.record import HeatRecord, Run, load_record

S = 1_000_000_000


def record(seconds=5, start_s=0):
    run = Run(start_ns=start_s * S)
    for k in range(10 * seconds):
        run.add((float(k), 0.5), (math.nan, math.nan, 30.0 + k // 10), "holding", 0.1)
    return HeatRecord(robot="so101", joint="elbow_flex", runs=[run])


def test_a_step_is_the_mean_of_a_second():
    run = record().runs[0]
    assert run.copper_w == pytest.approx([4.5, 14.5, 24.5, 34.5, 44.5])
    assert run.other_w == pytest.approx([0.5] * 5)
    assert run.driver_c == [30.0, 31.0, 32.0, 33.0, 34.0]
    assert run.stages == ["holding"] * 5


def test_a_pause_counts_as_several_steps():
    run = Run(start_ns=0)
    run.add((2.0, 0.0), (math.nan, math.nan, 30.0), "holding", 3.0)
    assert run.copper_w == [2.0] * 3


def test_no_time_is_lost_if_the_readings_are_not_evenly_spaced():
    rng, run = np.random.default_rng(1), Run(start_ns=0)
    spaced = 0.1 + rng.uniform(-0.002, 0.002, 6000)
    for dt in spaced:
        run.add((1.0, 0.5), (math.nan, math.nan, 30.0), "holding", dt)
    for dt in (1.4,) * 10:
        run.add((1.0, 0.5), (math.nan, math.nan, 30.0), "holding", dt)
    assert len(run.copper_w) == pytest.approx(spaced.sum() + 14.0, abs=1)
    assert run.copper_w == pytest.approx([1.0] * len(run.copper_w))


def test_a_record_survives_its_file(tmp_path):
    path, written = tmp_path / "sub" / "r.json", record()
    written.save(path)
    found = load_record(path)
    assert (found.robot, found.joint, found.seconds) == ("so101", "elbow_flex", 5.0)
    np.testing.assert_allclose(found.runs[0].copper_w, written.runs[0].copper_w)
    assert np.isnan(found.runs[0].winding_c).all()


def test_a_continued_experiment_is_one_history_with_a_gap():
    both = record(5, start_s=0)
    both.runs += record(5, start_s=65).runs
    first, second = both.recordings()
    assert (first.gap_s, second.gap_s) == (0.0, 60.0)
    assert len(second.copper_w) == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"format": "other"}, "is not a record of a guided experiment; create one with: waldo identify --guided"),
        ({"format": "waldo-heat-record", "schema_version": 2}, "has schema version 2, expected 1"),
        ({"format": "waldo-heat-record", "schema_version": 1}, r"is damaged \(KeyError"),
    ],
)
def test_another_file_is_refused(tmp_path, content, message):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(content))
    with pytest.raises(FileError, match=message):
        load_record(path)


def test_columns_of_different_lengths_are_refused(tmp_path):
    path = tmp_path / "r.json"
    record().save(path)
    content = json.loads(path.read_text())
    content["runs"][0]["driver_c"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(FileError, match="the columns of a run differ in length"):
        load_record(path)
