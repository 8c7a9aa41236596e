"""feetech-cli: its commands on emulated servos, and waldo's driver on the servos that it simulates."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tests.robots.drivers.servo_bench import until
from tests.third_party.conftest import CLIENTS, environment, run, servos
from waldo.robots.drivers import feetech
from waldo.sim.emulation.arms import make_bare_motors

FEETECH_CLI = "feetech-cli==0.1.8"


def test_its_commands_inspect_configure_and_move_a_servo() -> None:
    program = environment(FEETECH_CLI).with_name("feetech")
    with servos("feetech", "sts3215", "sts3215") as found:

        def call(*words: str) -> str:
            options = ("--port", found.port, "--baudrate", "1000000", "--timeout", "3", "--max-id", "2")
            return run(program, *options, *words)

        assert "Found 2 servo(s)" in call("scan")
        printed = call("info", "1", "--all")
        for text in ("model_number", "777", "position", "present_temperature"):
            assert text in printed
        assert "PASS" in call("selftest", "1")
        call("write", "1", "acceleration", "20")
        assert "20" in call("read", "1", "acceleration")
        call("move", "1", "--position", "1500", "--speed", "2000")
        call("torque", "1", "off")
        printed = call("set-zero", "1", "-y")
        assert "now reports 2048" in printed
        call("mode", "1", "wheel")
        assert found.servos[0].memory[33] == 1
        call("mode", "1", "position")
        call("factory-reset", "1", "-y")
        assert found.servos[0].memory[21] == 32
        call("set-id", "2", "7", "-y")
        assert [servo.id for servo in found.servos] == [1, 7]
        call("set-baud", "7", "115200", "-y")
        assert found.servos[1].memory[6] == 4
        found.power_cycle()
        assert (found.servos[1].id, found.servos[1].memory[6]) == (7, 4), "stored"


@contextmanager
def simulated_bus() -> Iterator[str]:
    """Run the servos that feetech-cli simulates; yield their port."""
    command = [environment(FEETECH_CLI), CLIENTS / "feetech_cli_bus.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate("\n")


def test_waldo_s_driver_drives_the_servos_that_it_simulates() -> None:
    robot, _ = make_bare_motors(["sts3215"] * 3)
    with simulated_bus() as port:
        driver = feetech.FeetechDriver(robot, port=port, allow_uncalibrated=True, response_timeout_s=1.0)
        driver.connect()
        start = driver.read().position
        target = start + np.array([0.3, -0.2, 0.1])
        driver.write(target)
        # These servos are at their goal at once, which the driver takes for a damaged reading at first.
        until(driver, lambda state: np.abs(state.position - target).max() < 0.01)
        sensors = driver.motors()
        assert sensors.driver_c.tolist() == [35.0] * 3
        np.testing.assert_allclose(sensors.voltage_v, 12.1)
        driver.disconnect()
