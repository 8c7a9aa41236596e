"""An hour of pick and place that is too hard for the arm: as it is, governed, and at the best constant speed.

Usage: uv run python benchmarks/governor.py [--minutes 60] [--picture docs/governor.png]

An SO-101 swings a load of 0.15 kg to and fro, in MuJoCo, through the robot node's own safety chain. The governor sees
what the servos tell: current in steps of 6.5 mA and a housing temperature in whole degrees. It does not know that the
room is at 30 °C, nor that the windings have 8 % more resistance than the data sheet. The oracle knows all of it: it is
the highest constant speed at which no winding crosses its limit within the hour, found by trying.
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
"""Control ticks between two looks at the motors: 10 Hz."""

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
"""One cycle: down and up on one side, over, down and up on the other, back [rad]."""

NEAR_RAD = 0.01
"""A waypoint is reached."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Run the arms side by side."""

    minutes: float = 60.0
    """How long [min]."""
    load_kg: float = 0.15
    """What the hand carries [kg]."""
    ambient_c: float = 30.0
    """The room [°C]; the governor expects 25."""
    resistance: float = 1.08
    """Resistance of the windings over the data sheet's."""
    picture: Path | None = None
    """Where the plot is drawn."""


@dataclass
class Arm:
    """One arm: its chain, what it does, and what it came to."""

    name: str
    chain: SafetyChain
    speed: float = 1.0
    """Constant share of full speed, where no governor decides."""
    monitor: HeatMonitor | None = None
    at: int = 0
    cycles: int = 0
    held_s: float = 0.0
    hottest: list[float] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)


def simulate(config: Config, arms: list[Arm], note: str) -> None:
    """Let all arms work side by side, each in its own world."""
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
    """Command the waypoint that is due, through the chain; take the next one when it is reached."""
    target = WAYPOINTS[arm.at]
    names = arm.chain.robot.joint_names
    if arm.chain.status.mode is not Mode.FOLLOWING:
        # As an operator engages: from where the robot is.
        away = target - arm.chain.limiter.position
        target = arm.chain.limiter.position + np.clip(away, -0.5, 0.5)
    arm.chain.command(names, target.tolist(), now_ns)
    derating = None if arm.monitor is None else arm.monitor.derating
    speed = arm.speed if derating is None else derating.speed_ratio
    setpoint = arm.chain.step(now_ns, position, now_ns, headroom, 1 / CONTROL_HZ, speed_ratio=speed)
    if np.abs(setpoint - WAYPOINTS[arm.at]).max() < NEAR_RAD:
        arm.at = (arm.at + 1) % len(WAYPOINTS)
        arm.cycles += arm.at == 0
    if arm.chain.status.mode is not Mode.FOLLOWING:
        arm.held_s += 1 / CONTROL_HZ
    return setpoint


def watch(world: World, arms: list[Arm], headroom: Array, now_ns: int) -> None:
    """Let the governed arm look at its motors as its servos tell of them, and note the truth."""
    for i, arm in enumerate(arms):
        arm.hottest.append(float(np.max(world.heat[i, :, 0] - world.motors.limit_c)))
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
    """Return an arm that begins anew."""
    robot = World("lift").robot
    return Arm(name, SafetyChain(robot), speed=speed, monitor=HeatMonitor(robot) if governed else None)


def best_speed(config: Config) -> float:
    """Return the highest constant speed that never crosses a limit, to a hundredth, by trying ever finer ones."""
    low, high = 0.2, 1.0
    for _ in range(2):
        speeds = np.linspace(low, high, 12)
        arms = [make(f"{speed:.2f}", float(speed)) for speed in speeds]
        # Half an hour is many time constants: what does not cross by then does not cross.
        simulate(dataclasses.replace(config, minutes=min(config.minutes, 25.0)), arms, "the oracle tries speeds")
        good = [arm.speed for arm in arms if max(arm.hottest) <= 0]
        low = max(good)
        high = min([arm.speed for arm in arms if arm.speed > low], default=low)
    return low


def draw(config: Config, arms: list[Arm], path: Path) -> None:
    """Plot the hottest winding's distance to its limit, the speed and the cycles."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(9, 6), sharex=True, height_ratios=(3, 2), layout="constrained")
    colors = ("#c0392b", "#1f6f43", "#4a6fa5")
    for arm, color in zip(arms, colors, strict=True):
        minutes = np.arange(len(arm.hottest)) * MONITOR_TICKS / CONTROL_HZ / 60
        width = CONTROL_HZ // MONITOR_TICKS * 5
        shown = np.array(arm.hottest)[: len(arm.hottest) // width * width].reshape(-1, width).max(axis=1)
        axes[0].plot(minutes[::width][: len(shown)], shown, color=color, label=f"{arm.name}: {arm.cycles} cycles")
        axes[1].plot(minutes[::width], np.array(arm.speeds[::width]) * 100, color=color)
    axes[0].axhline(0, color="black", lw=0.8, ls="--")
    axes[0].set_ylabel("hottest winding above its limit [K]")
    axes[0].legend(loc="lower right", frameon=False)
    axes[1].set(ylabel="speed [%]", xlabel="minutes", ylim=(0, 108))
    axes[0].set_title("An hour of pick and place that is too hard for the arm", loc="left")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    figure.savefig(path, dpi=110)
    console.out().print(f"plot: {path}")


def main() -> None:
    """Find the oracle's speed, run the three arms and print the table."""
    config = tyro.cli(Config, description=__doc__)
    oracle = best_speed(config)
    arms = [make("as it is"), make("governed", governed=True), make(f"oracle, always {oracle:.0%}", oracle)]
    simulate(config, arms, "working")
    rows = [
        [
            arm.name,
            str(arm.cycles),
            f"{arm.cycles / arms[2].cycles:.0%}",
            f"{max(arm.hottest):+.1f}",
            f"{np.mean(np.array(arm.hottest) > 0):.0%}",
            f"{np.mean(arm.speeds):.0%}",
            f"{arm.held_s:.0f}",
        ]
        for arm in arms
    ]
    columns = ["arm", "cycles", "of the oracle's", "hottest winding over its limit K", "of the time over it"]
    columns += ["mean speed", "held by the safety chain s"]
    print_table(f"{config.minutes:g} minutes of pick and place", columns, rows)
    if config.picture is not None:
        draw(config, arms, config.picture)


if __name__ == "__main__":
    main()
