"""An hour of pick and place that overloads the arm: without governor, with governor, and at the best constant speed.

Usage: uv run python benchmarks/governor.py [--minutes 60] [--figure docs/governor.png]

An SO-101 moves a load of 0.15 kg back and forth, in MuJoCo, through the robot node's safety chain. The governor
receives the readings of the servos: the current in steps of 6.5 mA and the housing temperature in steps of 1 °C. It
does not receive the air temperature of 30 °C or the winding resistance, which is 8 % above the data sheet. The oracle
is the highest constant speed at which no winding exceeds its limit within the hour, found by trial.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from workload import print_table

from waldo import console
from waldo.robots.control.safety import Mode, SafetyChain
from waldo.robots.driver import MotorSensors
from waldo.robots.thermal.monitor import HeatMonitor
from waldo.sim.world import CONTROL_HZ, World
from waldo.typing import Array

MONITOR_TICKS = 6
"""Control ticks per step of the heat monitor: 10 Hz."""

WAYPOINTS = np.array(
    [
        [1.2, 0.3, 0.0, 0.6, 0.0, 0.3],
        [1.2, -0.3, 0.3, 0.6, 0.0, 0.1],
        [-1.2, -0.3, 0.3, 0.6, 0.0, 0.1],
        [-1.2, 0.3, 0.0, 0.6, 0.0, 0.3],
        [-1.2, -0.3, 0.3, 0.6, 0.0, 0.1],
        [1.2, -0.3, 0.3, 0.6, 0.0, 0.1],
    ]
)
"""One cycle: down and up on one side, across, down and up on the other side, back [rad]."""

NEAR_RAD = 0.01
"""Distance at which a waypoint is reached [rad]."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Simulate the arms side by side."""

    minutes: float = 60.0
    """Simulated time [min]."""
    load_kg: float = 0.15
    """Mass in the gripper [kg]."""
    ambient_c: float = 30.0
    """Air temperature [°C]; the governor expects 25."""
    resistance: float = 1.08
    """Winding resistance divided by that of the data sheet."""
    figure: Path | None = None
    """File for a figure."""


@dataclass
class Arm:
    """One arm, its safety chain and its results."""

    name: str
    chain: SafetyChain
    speed: float = 1.0
    """Constant fraction of full speed, without a governor."""
    monitor: HeatMonitor | None = None
    waypoint: int = 0
    cycles: int = 0
    held_s: float = 0.0
    excess_k: list[float] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)


def simulate(config: Config, arms: list[Arm], note: str) -> None:
    """Simulate all arms, each in its own world."""
    world = World("lift", worlds=len(arms), threads=1)
    robot = world.robot
    world.add_mass("gripper", config.load_kg)
    world.motors.resistance = world.motors.resistance * config.resistance
    world.motors.ambient_c = config.ambient_c
    world.reset(range(len(arms)))
    for arm, position in zip(arms, world.position, strict=True):
        arm.chain.reset(position)
    steps = round(config.minutes * 60 * CONTROL_HZ)
    headroom = np.full((len(arms), len(robot.joints)), np.nan)
    with console.progress() as progress:
        bar = progress.add_task(note, total=steps, note="")
        for tick in range(steps):
            now_ns = round(tick / CONTROL_HZ * 1e9)
            targets = [
                drive(arm, now_ns, position, head)
                for arm, position, head in zip(arms, world.position, headroom, strict=True)
            ]
            world.step(np.array(targets))
            if tick % MONITOR_TICKS == 0:
                watch(world, arms, headroom, now_ns)
                progress.update(bar, completed=tick)


def drive(arm: Arm, now_ns: int, position: Array, headroom: Array) -> Array:
    """Command the current waypoint through the safety chain; advance when it is reached."""
    target = WAYPOINTS[arm.waypoint]
    names = arm.chain.robot.joint_names
    if arm.chain.status.mode is not Mode.FOLLOWING:
        # Engage near the present position, as an operator does.
        offset = target - arm.chain.limiter.position
        target = arm.chain.limiter.position + np.clip(offset, -0.5, 0.5)
    arm.chain.command(names, target.tolist(), now_ns)
    derating = None if arm.monitor is None else arm.monitor.derating
    speed = arm.speed if derating is None else derating.speed_ratio
    setpoint = arm.chain.step(now_ns, position, now_ns, headroom, 1 / CONTROL_HZ, speed_ratio=speed)
    if np.abs(setpoint - WAYPOINTS[arm.waypoint]).max() < NEAR_RAD:
        arm.waypoint = (arm.waypoint + 1) % len(WAYPOINTS)
        arm.cycles += arm.waypoint == 0
    if arm.chain.status.mode is not Mode.FOLLOWING:
        arm.held_s += 1 / CONTROL_HZ
    return setpoint


def watch(world: World, arms: list[Arm], headroom: Array, now_ns: int) -> None:
    """Step the monitor of the governed arm with rounded readings, and record the true temperatures."""
    for i, arm in enumerate(arms):
        arm.excess_k.append(float(np.max(world.heat[i, :, 0] - world.motors.limit_c)))
        if arm.monitor is None:
            arm.speeds.append(arm.speed)
            continue
        sensors = dataclasses.replace(
            MotorSensors.unknown(world.heat.shape[1]),
            current_a=np.round(world.current[i] / 0.0065) * 0.0065,
            housing_c=np.round(world.heat[i, :, 1]),
        )
        readings = arm.monitor.step(sensors, world.velocity[i], MONITOR_TICKS / CONTROL_HZ, now_ns)
        headroom[i] = readings.limit_c - readings.winding_c
        arm.speeds.append(float(readings.derate_ratio[0]))


def make(name: str, speed: float = 1.0, *, governed: bool = False) -> Arm:
    """Return an arm at the start."""
    robot = World("lift").robot
    return Arm(name, SafetyChain(robot), speed=speed, monitor=HeatMonitor(robot) if governed else None)


def best_speed(config: Config) -> float:
    """Return the highest constant speed that never exceeds a limit, to about 0.01, by a refined search."""
    low, high = 0.2, 1.0
    for _ in range(2):
        speeds = np.linspace(low, high, 12)
        arms = [make(f"{speed:.2f}", float(speed)) for speed in speeds]
        # 25 minutes are several time constants: a limit that is not exceeded by then is not exceeded later.
        simulate(
            dataclasses.replace(config, minutes=min(config.minutes, 25.0)), arms, "searching the best constant speed"
        )
        good = [arm.speed for arm in arms if max(arm.excess_k) <= 0]
        low = max(good)
        high = min([arm.speed for arm in arms if arm.speed > low], default=low)
    return low


def draw(config: Config, arms: list[Arm], path: Path) -> None:
    """Plot the largest excess over a winding limit, the speed and the number of cycles."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(9, 6), sharex=True, height_ratios=(3, 2), layout="constrained")
    colors = ("#c0392b", "#1f6f43", "#4a6fa5")
    for arm, color in zip(arms, colors, strict=True):
        minutes = np.arange(len(arm.excess_k)) * MONITOR_TICKS / CONTROL_HZ / 60
        width = CONTROL_HZ // MONITOR_TICKS * 5
        shown = np.array(arm.excess_k)[: len(arm.excess_k) // width * width].reshape(-1, width).max(axis=1)
        axes[0].plot(minutes[::width][: len(shown)], shown, color=color, label=f"{arm.name}: {arm.cycles} cycles")
        axes[1].plot(minutes[::width], np.array(arm.speeds[::width]) * 100, color=color)
    axes[0].axhline(0, color="black", lw=0.8, ls="--")
    axes[0].set_ylabel("largest winding temperature minus limit [K]")
    axes[0].legend(loc="lower right", frameon=False)
    axes[1].set(ylabel="speed [%]", xlabel="minutes", ylim=(0, 108))
    axes[0].set_title("An hour of pick and place that overloads the arm", loc="left")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    figure.savefig(path, dpi=110)
    console.out().print(f"plot: {path}")


def main() -> None:
    """Find the oracle's speed, run the three arms and print the table."""
    config = tyro.cli(Config, description=__doc__)
    oracle = best_speed(config)
    arms = [
        make("without governor"),
        make("with governor", governed=True),
        make(f"oracle, constant {oracle:.0%}", oracle),
    ]
    simulate(config, arms, "working")
    rows = [
        [
            arm.name,
            str(arm.cycles),
            f"{arm.cycles / arms[2].cycles:.0%}",
            f"{max(arm.excess_k):+.1f}",
            f"{np.mean(np.array(arm.excess_k) > 0):.0%}",
            f"{np.mean(arm.speeds):.0%}",
            f"{arm.held_s:.0f}",
        ]
        for arm in arms
    ]
    columns = ["arm", "cycles", "relative to oracle", "largest excess over a limit K", "time over a limit"]
    columns += ["mean speed", "held by the safety chain s"]
    print_table(f"{config.minutes:g} minutes of pick and place", columns, rows)
    if config.figure is not None:
        draw(config, arms, config.figure)


if __name__ == "__main__":
    main()
