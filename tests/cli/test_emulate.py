"""`waldo emulate`: options that exclude each other, and how to connect to what it emulates."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from waldo.cli.emulate import Emulate
from waldo.errors import ConflictingOptionsError, UnsupportedOptionError


def started(**options: Any) -> str:
    """Start an emulation, stop it, and return how to connect to it."""
    with contextlib.ExitStack() as stack:
        return Emulate(**options)._start(stack)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"robot": "so101"}, "waldo robot so101 --driver feetech --port /dev/"),
        ({"robot": "so101", "ids": (2, 3, 4, 5, 6, 7)}, "--option ids=2,3,4,5,6,7"),
        ({"robot": "so101", "one_by_one": True}, "lerobot-setup-motors --robot.type=so101_follower"),
        ({"robot": "so101", "rehearsal": True}, "waldo calibrate so101 --driver feetech"),
        ({"robot": "so101_leader"}, "waldo teleop leader --port /dev/"),
        ({"robot": "koch"}, "lerobot-calibrate --robot.type=koch_follower"),
        ({"robot": "koch", "one_by_one": True}, "lerobot-setup-motors --robot.type=koch_follower"),
        ({"robot": "omx_leader"}, "lerobot-calibrate --teleop.type=omx_leader"),
        ({"robot": "motors", "driver": "feetech", "motors": ("sts3215",), "ids": (8,)}, "feetech servos, ids 8"),
        (
            {"robot": "openarm", "interface": "virtual", "channel": "x"},
            "on virtual:x, with the ids 1, 2, 3, 4, 5, 6, 7, 8",
        ),
        (
            {"robot": "so101", "driver": "damiao", "interface": "virtual", "channel": "y"},
            "--driver damiao --option inter",
        ),
    ],
)
def test_it_prints_how_to_connect(options: dict[str, Any], message: str) -> None:
    assert message in started(**options)


def test_a_hand_moves_the_arm_along_a_file(tmp_path: Path) -> None:
    path = tmp_path / "hand.csv"
    path.write_text("time_s,gripper\n0,0.1\n1,0.2\n")
    assert "so101's servos are on" in started(robot="so101", hand=path)
    assert "openarm's motors" in started(robot="openarm", hand=path, interface="virtual", channel="z")
    with pytest.raises(ConflictingOptionsError, match="--hand and --rehearsal cannot be combined"):
        started(robot="so101", hand=path, rehearsal=True)
    with pytest.raises(UnsupportedOptionError, match="--hand is not supported with --driver unitree"):
        started(robot="g1", hand=path)


@pytest.mark.parametrize("option", ["rehearsal", "one_by_one"])
def test_options_of_serial_servos_are_refused_for_can_motors(option: str) -> None:
    with pytest.raises(
        UnsupportedOptionError, match=f"--{option.replace('_', '-')} is not supported with --driver damiao"
    ):
        started(robot="openarm", **{option: True})
