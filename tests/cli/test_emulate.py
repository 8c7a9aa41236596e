"""`waldo emulate` with robots of two arms: each arm on a port or bus of its own."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest

from waldo.cli.emulate import Emulate
from waldo.errors import InvalidValueError, UnsupportedOptionError
from waldo.robots.description import load_robot
from waldo.robots.drivers.options import convert_options, split_options
from waldo.robots.drivers.parts import make_driver, option_classes

PATIENT = {"motor_timeout_s": 20.0, "response_timeout_s": 2.0}
"""A busy machine may pause a process for seconds."""


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


def test_options_of_one_arm_are_refused_for_a_pair() -> None:
    with contextlib.ExitStack() as stack, pytest.raises(UnsupportedOptionError, match="emulate one of its arms"):
        Emulate(robot="bi_so101", rehearsal=True)._start(stack)
    with contextlib.ExitStack() as stack, pytest.raises(InvalidValueError, match="2 channels, such as vcan0,vcan1"):
        Emulate(robot="bi_openarm", interface="virtual", channel="one")._start(stack)
