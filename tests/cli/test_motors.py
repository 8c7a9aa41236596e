"""`waldo motors` prints the motor library."""

from __future__ import annotations

import pytest

from waldo.cli.robot import Motors


def test_a_motor_is_printed_with_unit_uncertainty_basis_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert Motors(name="xl330-m288").run() == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    cells = {row[0]: row[1:4] for row in rows if row and row[0]}
    assert cells["resistance"] == ["2.8 ±15%", "Ω", "fitted"]
    assert cells["voltage"] == ["5 ±10%", "V", "published"]
    assert cells["rated_torque"] == ["not published", "", ""]


def test_thermal_constants_have_an_uncertainty_and_a_basis(capsys: pytest.CaptureFixture[str]) -> None:
    assert Motors(name="sts3215-7v").run() == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["winding_j_per_k", "4.5 ±37%", "J/K", "fitted"] in [row[:4] for row in rows]
