"""Late, corrupted and foreign answers on a motor bus: what a driver reports and commands meanwhile.

Usage: uv run python benchmarks/bus_faults.py [--vendors feetech dynamixel damiao robstride] [--connections 1000]
    [--seconds 600] [--seed 1] [--flip]

Ctrl-C ends the connections and prints those so far.

Emulated arms without gravity, so that every movement has been commanded. Of the motors' answers, 5 % come 5 to 300 ms
late and 2 % have one wrong bit; a second program polls the same motors. A CAN controller discards a frame with a wrong
checksum, so of CAN frames 2 % are lost; with `--flip` they are delivered with the wrong bit, as by a faulty adapter.

- position error: distance of a reported position from the range of the joint's true positions, from the time the
  state is stamped with until the reading returns;
- jump: while connecting, distance of a motor's setpoint from the pose of the arm, which holds; in motion, distance of
  each goal that a motor receives from what was commanded in the last second;
- without torque: how often a motor that should hold did not.

Serial motors share their line: an answer that is late delays all of them. The motor time-out, after which a robot stops
and holds, is therefore 1 s instead of 0.25 s.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from disturbed_arms import Arm, can_arm, serial_arm
from workload import print_table

from waldo.console import out
from waldo.errors import HardwareError

SWAY_RAD, SWAY_RAD_S = 0.3, 0.5
"""Amplitude and largest speed of the motion."""
CURRENT_S = 0.05
"""Age up to which a reported position counts as the present one [s]."""
TIMEOUT_S = 1.0
"""Time without a response after which the driver stops [s]."""
PERIOD_S = 0.02
"""Control cycle [s]."""


def connect_often(arm: Arm, times: int) -> dict[str, float]:
    """Connect, read and hold `times` times; the arm must not move."""
    with first(arm) as driver:
        home = arm.driver().robot.home
        for share in np.linspace(0, 1, 50):
            driver.write(driver.read().position * (1 - share) + home * share)
            time.sleep(PERIOD_S)
        time.sleep(1.0)
    with arm.joints.lock:
        pose = arm.joints.position.copy()
        arm.joints.watch(pose)
    arm.faults.on = True
    refusals, errors = list[str](), list[float]()
    for number in range(times):
        driver = arm.driver(motor_timeout_s=TIMEOUT_S)
        try:
            driver.connect()
            for _ in range(3):
                state = driver.read()
                errors.append(float(np.abs(state.position - pose).max()))
                driver.write(pose)
        except HardwareError as error:
            refusals.append(str(error))
            note(str(error))
        except KeyboardInterrupt:
            times = number
            break
        finally:
            driver.disconnect()
        if number % 100 == 99:
            note(f"{number + 1} connections, {len(refusals)} refused")
    arm.faults.on = arm.joints.watching = False
    return {
        "connections": times,
        "refused": len(refusals),
        "largest position error [rad]": max(errors, default=np.nan),
        "largest jump [rad]": arm.joints.jump,
        "without torque": arm.joints.off,
    }


def note(text: str) -> None:
    """Print a line of progress."""
    out().print(f"  {text}", style="dim", markup=False, highlight=False)


@contextmanager
def first(arm: Arm) -> Iterator[Any]:
    """Connect without faults; the arm holds afterwards."""
    driver = arm.driver()
    driver.connect()
    try:
        yield driver
    finally:
        driver.disconnect()


def reconnected(arm: Arm) -> Any:
    """Return a driver that is connected again, after as many attempts as it takes."""
    while True:
        driver = arm.driver(motor_timeout_s=TIMEOUT_S)
        try:
            driver.connect()
        except HardwareError as error:
            note(str(error))
        else:
            return driver


def move(arm: Arm, seconds: float) -> dict[str, float]:
    """Sway all joints and compare each reported position with the joints'."""
    driver = arm.driver(motor_timeout_s=TIMEOUT_S)
    driver.connect()
    center = np.clip(driver.read().position, driver.robot.lower + SWAY_RAD, driver.robot.upper - SWAY_RAD)
    for share in np.linspace(0, 1, 50):
        driver.write(driver.read().position * (1 - share) + center * share)
        time.sleep(PERIOD_S)
    time.sleep(1.0)
    arm.joints.commanded.append((time.time(), center))
    arm.joints.watch(None)
    arm.faults.on = True
    errors, stale, cycles, disabled, stops = list[float](), 0, 0, 0, 0
    start = due = time.monotonic()
    while (passed := time.monotonic() - start) < seconds:
        cycles += 1
        try:
            state = driver.read()
        except HardwareError as error:
            stops += 1
            note(str(error))
            driver.disconnect()
            driver = reconnected(arm)
            continue
        now = time.time()
        if now - state.stamp_ns / 1e9 < CURRENT_S:
            errors.append(arm.joints.error(state.position, state.stamp_ns / 1e9 - 0.02, now))
        else:
            stale += 1
        disabled += int(driver.motors().disabled.any())
        target = center + SWAY_RAD * np.sin(passed * SWAY_RAD_S / SWAY_RAD)
        arm.joints.commanded.append((time.time(), target))
        driver.write(target)
        due = max(due + PERIOD_S, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
    arm.faults.on = arm.joints.watching = False
    driver.disconnect()
    return {
        "readings": cycles,
        "stated as old": stale,
        "errors > 0.02 rad": sum(error > 0.02 for error in errors),
        "largest position error [rad]": max(errors, default=np.nan),
        "largest jump [rad]": arm.joints.jump,
        "without torque": arm.joints.off + disabled,
        "goals": arm.joints.goals,
        "stops": stops,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--vendors", nargs="+", default=["feetech", "dynamixel", "damiao", "robstride"])
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flip", action="store_true")
    arguments = parser.parse_args()
    for kind, amount in (("connections", arguments.connections), ("motion", arguments.seconds)):
        found = [measured(vendor, kind, amount, arguments) for vendor in arguments.vendors if amount]
        rows = [
            [vendor, *map(shown, figures.items())] for vendor, figures in zip(arguments.vendors, found, strict=False)
        ]
        if found:
            print_table(kind, ["vendor", *found[0]], rows)


def measured(vendor: str, kind: str, amount: float, arguments: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one vendor."""
    arm = serial_arm(vendor) if vendor in ("feetech", "dynamixel") else can_arm(vendor, arguments.flip)
    with arm as opened:
        opened.faults.rng.seed(arguments.seed)
        return connect_often(opened, int(amount)) if kind == "connections" else move(opened, amount)


def shown(item: tuple[str, float]) -> str:
    """Return a figure as text."""
    name, value = item
    return f"{value:.4f}" if "rad]" in name else f"{value:g}"


if __name__ == "__main__":
    main()
