"""Thermal constants from manufacturers' overload tables."""

from pathlib import Path

import numpy as np
import pytest

from waldo.errors import FileError
from waldo.robots.motors.overload_table import OverloadTable, fit_table, held_out, read_table

RS02 = OverloadTable(
    torque_nm=np.array([17.0, 16, 15, 14, 13, 12, 11, 10, 9]),
    seconds=np.array([10.0, 14, 18, 29, 42, 71, 165, 250, 838]),
    limit_c=145.0,
    rated_nm=7.0,
)


def test_a_fit_reproduces_its_table():
    fit = fit_table(RS02)
    errors = np.abs(fit.seconds(RS02.torque_nm) / RS02.seconds - 1)
    assert np.median(errors) < 0.1
    assert fit.seconds(np.array([7.0]))[0] > 3600


def test_a_fit_predicts_rows_that_it_has_not_seen():
    assert np.median(np.abs(held_out(RS02, rows=(2, 4, 6)))) <= 0.15


def test_a_table_is_read_from_a_file(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("torque_nm,seconds\n17,10\n14,29\n11,165\n7,rated\n")
    table = read_table(path, limit_c=145.0, ambient_c=25.0)
    assert table.torque_nm.tolist() == [17, 14, 11]
    assert table.rated_nm == 7.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows, expected the columns torque_nm,seconds"),
        ("a,b\n1,2\n", "has the columns a, b, expected the columns torque_nm,seconds"),
        ("torque_nm,seconds\n17,ten\n", "line 2 is"),
        ("torque_nm,seconds\n17,-1\n", "line 2 has a torque or a time that is not above 0"),
        ("torque_nm,seconds\n17,10\n", "has 1 overload, expected 3 or more"),
        ("torque_nm,seconds\n17,10\n14,29\n", "has 2 overloads, expected 3 or more"),
    ],
)
def test_an_invalid_table_is_refused(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(FileError, match=message):
        read_table(path, limit_c=145.0, ambient_c=25.0)
