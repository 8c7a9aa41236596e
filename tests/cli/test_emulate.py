"""`waldo emulate`: options that exclude each other, and how to connect to what it emulates."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.terminal import Terminal
from waldo.cli.emulate import Emulate
from waldo.errors import ConflictingOptionsError, HardwareError, InvalidValueError, UnsupportedOptionError
from waldo.robots.description import load_robot
from waldo.robots.drivers.feetech import FeetechDriver
from waldo.robots.drivers.options import convert_options, split_options
from waldo.robots.drivers.parts import make_driver, option_classes
from waldo.sim.emulation.feetech import FeetechServos

PATIENT = {"motor_timeout_s": 20.0, "response_timeout_s": 2.0}
"""A busy machine may pause a process for seconds."""


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
            {"robot": "openarm_left", "interface": "virtual", "channel": "x"},
            "waldo robot openarm_left --driver damiao --option interface=virtual --option channel=x",
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
    assert "openarm_left's motors" in started(robot="openarm_left", hand=path, interface="virtual", channel="z")
    with pytest.raises(ConflictingOptionsError, match="--hand and --rehearsal cannot be combined"):
        started(robot="so101", hand=path, rehearsal=True)
    with pytest.raises(UnsupportedOptionError, match="--hand is not supported with --driver unitree"):
        started(robot="g1", hand=path)


@pytest.mark.parametrize("option", ["rehearsal", "one_by_one", "link"])
def test_options_of_serial_servos_are_refused_for_can_motors(option: str) -> None:
    with pytest.raises(
        UnsupportedOptionError, match=f"--{option.replace('_', '-')} is not supported with --driver damiao"
    ):
        started(robot="openarm_left", **{option: True})


@pytest.mark.parametrize(
    ("name", "driver", "extra"),
    [
        ("bi_so101", "feetech", {}),
        ("bi_openarm", "damiao", {"interface": "virtual", "channel": "left-arm,right-arm"}),
    ],
)
def test_a_pair_prints_how_to_connect_to_both_arms(name: str, driver: str, extra: dict[str, str]) -> None:
    robot = load_robot(name)
    with contextlib.ExitStack() as stack:
        message = Emulate(robot=name, **extra)._start(stack)  # type: ignore[arg-type]
        assert f"waldo robot {name} --driver {driver}" in message
        texts = split_options(re.findall(r"--option (\S+)", message))
        assert {option.partition(".")[0] for option in texts if "." in option} == {"left", "right"}
        options = convert_options(texts, *option_classes(driver, robot, texts))
        made = make_driver(driver, robot, {**options, **PATIENT})
        made.connect()
        np.testing.assert_allclose(made.read().position, robot.home, atol=0.3)
        made.disconnect()


def test_links_have_the_names_of_the_arms(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        message = Emulate(robot="bi_so101_leader", link=tmp_path / "arm")._start(stack)
        assert "waldo teleop leader --robot bi_so101 --option driver=feetech" in message
        assert f"--option left.port={tmp_path}/arm.left" in message
        assert (tmp_path / "arm.right").is_symlink()
    assert list(tmp_path.iterdir()) == []


def test_options_without_an_effect_are_refused() -> None:
    with pytest.raises(UnsupportedOptionError, match="--controller is not supported with --driver feetech"):
        started(robot="so101", controller="ai")
    with pytest.raises(ConflictingOptionsError, match="--task and --rehearsal cannot be combined"):
        started(robot="so101", task="pick", rehearsal=True)


def test_a_bus_that_cannot_be_opened_is_an_error() -> None:
    with pytest.raises(HardwareError, match=r"CAN bus socketcan:nowhere0 cannot be opened"):
        started(robot="openarm_left", interface="socketcan", channel="nowhere0")


def test_an_emulation_whose_thread_fails_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: FeetechServos, seconds: float) -> None:
        raise RuntimeError("a fault of the emulation")

    monkeypatch.setattr(FeetechServos, "advance", fail)
    monkeypatch.setattr("waldo.process.until_signaled", lambda: lambda: False)
    with pytest.raises(RuntimeError, match="a fault of the emulation"):
        Emulate(robot="so101").run()


def test_options_of_one_arm_are_refused_for_a_pair() -> None:
    for options in ({"rehearsal": True}, {"one_by_one": True}, {"motors": ("sts3250",)}, {"ids": tuple(range(1, 13))}):
        with contextlib.ExitStack() as stack, pytest.raises(UnsupportedOptionError, match="emulate one of its arms"):
            Emulate(robot="bi_so101", **options)._start(stack)  # type: ignore[arg-type]
    with contextlib.ExitStack() as stack, pytest.raises(InvalidValueError, match="2 channels, such as vcan0,vcan1"):
        Emulate(robot="bi_openarm", interface="virtual", channel="one")._start(stack)


def test_keys_of_a_terminal_move_the_arm(tmp_path: Path) -> None:
    link, right, down = tmp_path / "arm", "\x1b[C", "\x1b[B"
    with Terminal(
        [sys.executable, "-m", "waldo", "emulate", "so101", "--hand", "keys", "--link", str(link)]
    ) as terminal:
        terminal.wait_for_printed("connect with")
        reader = FeetechDriver(load_robot("so101"), port=str(link), torque=False)
        reader.connect()
        start = reader.read().position
        terminal.press(right)
        deadline = time.monotonic() + 60
        while reader.read().position[0] < start[0] + 0.2 and time.monotonic() < deadline:
            time.sleep(0.02)
        terminal.press(down)
        terminal.wait_for_printed("shoulder_lift: ")
        moved = reader.read().position - start
        reader.disconnect()
        terminal.press("\x03")
        assert terminal.exit_code() == 0
    assert moved[0] >= 0.2
    np.testing.assert_allclose(moved[1:], 0.0, atol=0.01)


def test_keys_need_a_terminal() -> None:
    with pytest.raises(HardwareError, match="reads the keys of a terminal, but standard input is none"):
        started(robot="so101", hand="keys")
