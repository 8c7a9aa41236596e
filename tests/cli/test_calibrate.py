"""`waldo calibrate` with emulated servos."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.robots.drivers.servo_bench import DRIVERS, SO101, Bench, until
from waldo.cli.calibrate import Calibrate
from waldo.errors import HardwareError, UnsupportedOptionError
from waldo.robots.description import load_robot
from waldo.robots.drivers import calibration, feetech
from waldo.sim.emulation.emulated_leader import EmulatedLeader
from waldo.sim.emulation.feetech import FeetechServos

WALDO = (sys.executable, "-m", "waldo")


@pytest.fixture(params=list(DRIVERS))
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """An emulated arm."""
    bench = Bench(request.param)
    with bench.servos:
        yield bench


def test_other_drivers_are_rejected() -> None:
    with pytest.raises(
        UnsupportedOptionError, match=r"not supported with --driver damiao \(supported: feetech, dynamixel\); use the"
    ):
        Calibrate(robot="so101", driver="damiao").run()


def test_a_file_that_differs_from_the_servos_is_rejected_and_can_be_restored(bench: Bench, tmp_path: Path) -> None:
    driver = bench.driver()
    driver.connect()
    stored = driver.stored()
    path = tmp_path / "arm.json"
    calibration.save(path, SO101.joint_names, stored)
    driver.disconnect()
    good = bench.driver(calibration=str(path))
    good.connect()
    good.disconnect()
    moved = [dataclasses.replace(stored[0], homing_offset=stored[0].homing_offset + 7), *stored[1:]]
    calibration.save(path, SO101.joint_names, moved)
    with pytest.raises(
        HardwareError, match=r"shoulder_pan \(id 1\) has homing offset .*waldo calibrate so101 --driver .* --rest"
    ):
        bench.driver(calibration=str(path)).connect()
    done = subprocess.run(
        [*WALDO, "calibrate", "so101", f"--driver={bench.vendor}", f"--port={bench.servos.port}", f"--restore={path}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    good.connect()
    good.disconnect()
    # The calibration is stored in non-volatile memory.
    bench.servos.power_cycle()
    good.connect()
    assert good.stored()[0] == moved[0]
    good.disconnect()


def test_an_arm_is_calibrated_interactively(tmp_path: Path) -> None:
    """An emulated hand moves a leader arm to its middle pose and to both ends of every joint."""
    middle = (SO101.lower + SO101.upper) / 2
    target = {"position": middle}
    with FeetechServos(
        EmulatedLeader(load_robot("so101_leader"), lambda _: target["position"]), calibrated=False
    ) as servos:
        path = tmp_path / "mine.json"
        leader, terminal = os.openpty()
        process = subprocess.Popen(
            [*WALDO, "calibrate", "so101_leader", "--port", servos.port, "--output", str(path)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        output = ""

        def wait_for(text: str) -> None:
            nonlocal output
            deadline = time.monotonic() + 120
            while text not in output:
                assert time.monotonic() < deadline, output
                if select.select([leader], [], [], 0.2)[0]:
                    output += os.read(leader, 65536).decode(errors="replace")

        wait_for("press Enter")
        os.write(leader, b"\n")
        wait_for("from one end to the other")
        for ends in (SO101.lower, SO101.upper, middle):
            target["position"] = ends
            requests = servos.requests
            deadline = time.monotonic() + 60
            while servos.requests < requests + 8:
                assert time.monotonic() < deadline
                # A full terminal buffer would block the program.
                if select.select([leader], [], [], 0.01)[0]:
                    output += os.read(leader, 65536).decode(errors="replace")
        os.write(leader, b"\n")
        wait_for("stored in the servos and in")
        assert process.wait(120) == 0
        os.close(terminal)
        os.close(leader)
        kept = json.loads(path.read_text())
        assert kept["wrist_roll"]["range_min"] == 0
        assert kept["wrist_roll"]["range_max"] == 4095
        target["position"] = SO101.home
        driver = feetech.FeetechDriver(
            load_robot("so101_leader"), port=servos.port, torque=False, response_timeout_s=1.0
        )
        driver.connect()
        found = until(driver, lambda s: bool(np.abs(s.position - SO101.home)[[0, 1, 2, 3, 5]].max() < 0.01))
        # The zero of the full-turn roll joint is its position in the middle pose.
        np.testing.assert_allclose(found.position[4], SO101.home[4] - middle[4], atol=0.01)
        driver.disconnect()
