"""Calibration files and the conversion between counts and angles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.errors import FileError
from waldo.robots.description import load_robot
from waldo.robots.drivers import calibration
from waldo.robots.drivers.calibration import Counts, ServoCalibration

SO101 = load_robot("so101")


def test_invalid_calibration_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    one = {"id": 1, "drive_mode": 0, "homing_offset": 3, "range_min": 100, "range_max": 3000}
    for text, message in (
        (None, r"cannot be read \(No such file or directory\)"),
        ("{", r"is not usable JSON \(.*\)"),
        ("[]", "contains no joints"),
        (json.dumps({"a": one}), r"lacks the joints b \(found: a\); pass the calibration file of this robot"),
        (json.dumps({"a": one, "b": {**one, "range_max": "x"}}), "b lacks a whole number for one of id, drive_mode"),
        (
            json.dumps({"a": one, "b": {**one, "range_max": 50}}),
            "b has range 100 to 50 and drive mode 0, expected an increasing range",
        ),
    ):
        if text is not None:
            path.write_text(text)
        with pytest.raises(FileError, match=message):
            calibration.load(path, ("a", "b"))
    path.write_text(json.dumps({"b": one, "a": {**one, "id": 2}}))
    assert [c.id for c in calibration.load(path, ("a", "b"))] == [2, 1]


@given(st.data())
def test_counts_and_angles_are_inverse(data: st.DataObject) -> None:
    found = [
        ServoCalibration(id=i, drive_mode=data.draw(st.integers(0, 1)), range_min=low, range_max=low + span)
        for i, (low, span) in enumerate(
            data.draw(st.lists(st.tuples(st.integers(0, 1500), st.integers(500, 2500)), min_size=6, max_size=6))
        )
    ]
    counts = Counts(SO101, found)
    positions = np.array([data.draw(st.integers(c.range_min, c.range_max)) for c in found])
    assert (counts.goals(counts.angles(positions.astype(float))) == positions).all()
    middle = np.array([(c.range_min + c.range_max) / 2 for c in found])
    np.testing.assert_allclose(counts.angles(middle), (SO101.lower + SO101.upper) / 2, atol=1e-12)


def test_a_saved_file_is_loaded_unchanged_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "arm.json"
    one = ServoCalibration(id=1, drive_mode=1, homing_offset=-7, range_min=100, range_max=3000)
    calibration.save(path, ("a",), [one])
    assert calibration.load(path, ("a",)) == (one,)
    assert list(path.parent.iterdir()) == [path]
