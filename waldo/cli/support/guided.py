"""`waldo identify --guided`: options, progress and advice of an experiment with a real joint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from waldo import console
from waldo.errors import InvalidValueError, MissingOptionError, UnknownNameError, UnsupportedOptionError
from waldo.robots.diagnostics import WARN
from waldo.robots.guided.program import GuidedConfig

if TYPE_CHECKING:
    from waldo.robots.event import Event
    from waldo.robots.guided.record import HeatRecord
    from waldo.robots.guided.runner import GuidedExperiment
    from waldo.robots.thermal.fit import ThermalFit

ADVICE: Mapping[str, str] = {
    "heat_scale": "load and temperature determine only its product with the thermal resistances; measure the winding's "
    "resistance at 25 °C with an ohmmeter",
    "winding_j_per_k": "it shows in the winding in the first seconds after a change of load; use a drive with a sensor "
    "in the winding, or a higher --load",
    "winding_to_housing_k_per_w": "it shows as the difference between winding and housing; use a drive with a sensor "
    "in the winding, or a higher --load",
    "housing_j_per_k": "it shows in how fast the motor warms up and cools down; use more --minutes or a higher --load",
    "housing_to_ambient_k_per_w": "it shows in the temperature at which a held load settles; use more --minutes, and "
    "measure the air temperature (--ambient-c)",
    "driver_sensor_ratio": "it shows in how much of the winding's fast rise the sensor follows; use a higher --load",
}
"""Constant -> what to measure to determine it."""


@dataclass(frozen=True, kw_only=True)
class GuidedOptions:
    """A guided experiment with one joint."""

    driver: str = ""
    """Driver of the robot, as of `waldo robot`: feetech, dynamixel, robstride, twin ..."""
    port: str = ""
    """Serial port of a robot with serial servos, such as /dev/ttyACM0."""
    option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Driver option as name=value; repeatable."""
    pose: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Position of a joint as name=rad, such as --pose elbow_flex=-0.5; repeatable. These joints move there slowly
    before the experiment, so that the joint carries a load; the others stay where they are."""
    angle: float = GuidedConfig().angle_rad
    """Largest distance of the joint from its position at the start [rad]; the space must be free."""
    load: float | None = None
    """Torque to hold [N·m]; the motor's rated torque by default. A weight on the arm makes it possible."""
    margin: float = GuidedConfig().margin_k
    """Margin below the motor's temperature limit at which the load ends [K]."""
    minutes: float = GuidedConfig().minutes
    """Duration of the experiment [min]."""
    record: Path | None = None
    """File of the measurements, saved every few seconds; an existing one is continued. Fit it again with
    `waldo identify FILE`. Default: ROBOT-JOINT.heat.json."""


def measure(robot: str, joints: tuple[str, ...], options: GuidedOptions) -> tuple[HeatRecord, Path]:
    """Run the experiment until it is completed or Ctrl-C; return the record and its file.

    Raises:
        ConfigError: If not exactly one joint or no driver is given, or the record belongs to another joint.
    """
    from waldo.cli.robot import RobotCommand
    from waldo.process import until_signaled
    from waldo.robots.control.cycle import ControlCycle
    from waldo.robots.guided.runner import GuidedExperiment

    if len(joints) != 1:
        raise MissingOptionError("--guided", "one --joint, such as --joint elbow_flex")
    if not options.driver:
        raise MissingOptionError("--guided", "--driver")
    config = GuidedConfig(
        angle_rad=options.angle, load_nm=options.load, margin_k=options.margin, minutes=options.minutes
    )
    command = RobotCommand(robot=robot, driver=options.driver, port=options.port, option=options.option, cameras=False)
    done = until_signaled()
    driver = command.make_driver()
    if joints[0] not in driver.robot.joint_names:
        raise UnknownNameError("joint", joints[0], driver.robot.joint_names)
    path = options.record or Path(f"{driver.robot.name}-{joints[0]}.heat.json")
    record = _record(path, driver.robot.name, joints[0])
    driver.connect()
    try:
        cycle, pose = ControlCycle(driver), _pose(options.pose)
        experiment = GuidedExperiment(
            cycle, joints[0], config, record, pose=pose, save=lambda one: one.save(path), log=_log
        )
        _announce(experiment, pose)
        completed = _run(experiment, done)
    finally:
        driver.disconnect()
    for note in experiment.program.notes:
        console.err().print(note)
    if not completed:
        console.err().print(
            f"interrupted; the robot holds its position, and its heat is no longer monitored: lay the arm down and "
            f"disable its torque. The measurements are in {path}; the same command continues them."
        )
    return record, path


def _pose(texts: Sequence[str]) -> dict[str, float]:
    """Return joint name -> position [rad] of options such as "elbow_flex=-0.5"."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, position = text.partition("=")
        try:
            found[name] = float(position)
        except ValueError:
            raise InvalidValueError("--pose", text, "a joint and a position in rad, such as elbow_flex=-0.5") from None
    return found


def _record(path: Path, robot: str, joint: str) -> HeatRecord:
    """Return the record of a file that exists, or a new one."""
    from waldo.robots.guided.record import HeatRecord, load_record

    if not path.exists():
        return HeatRecord(robot=robot, joint=joint)
    record = load_record(path)
    if (record.robot, record.joint) != (robot, joint):
        found = f"{path}, a record of {record.joint} of {record.robot}"
        raise UnsupportedOptionError("--record", found, do=f"choose another file for {joint} of {robot}")
    console.err().print(f"continuing {path}: {record.seconds / 60:.0f} min measured")
    return record


def _log(event: Event) -> None:
    if event.level >= WARN:
        console.err().print(event.text, markup=False)


def _announce(experiment: GuidedExperiment, pose: Mapping[str, float]) -> None:
    program = experiment.program
    if others := [f"{name} to {position:.2f} rad" for name, position in pose.items()]:
        console.err().print(f"first moves {', '.join(others)}")
    console.err().print(
        f"{experiment.joint.name} moves between {program.low:.2f} and {program.high:.2f} rad for "
        f"{program.config.minutes:g} min, holds up to {program.load_nm:.2f} N·m, and is no longer loaded at "
        f"{program.stop_c:.0f} °C; keep the space free. Ctrl-C holds the robot and saves the measurements."
    )


def _run(experiment: GuidedExperiment, done: Callable[[], bool]) -> bool:
    """Run with a progress bar."""
    with console.progress() as progress:
        total = round(sum(experiment.program.durations))
        bar = progress.add_task(experiment.joint.name, total=total, note="")

        def advance(one: GuidedExperiment) -> None:
            stage = "" if one.program.stage is None else one.program.stage.value
            note = f"{stage}, {one.motor_c:.0f} °C"
            progress.update(bar, completed=min(total, round(one.program.elapsed_s)), note=note)

        return experiment.run(done, advance)


def fit_record(record: HeatRecord, ambient_c: float | None) -> ThermalFit:
    """Fit the constants of the record's motor.

    Raises:
        InsufficientDataError: If the temperatures hardly changed.
    """
    from waldo.datasets.quality.identify import PRIOR
    from waldo.robots.description import load_robot
    from waldo.robots.thermal.fit import fit_constants

    joint = next(joint for joint in load_robot(record.robot).joints if joint.name == record.joint)
    return fit_constants(record.recordings(), joint.motor.thermal or PRIOR, ambient_c=ambient_c)


def advice(fit: ThermalFit, has_driver_sensor: bool) -> list[str]:
    """Return how to determine each constant that the experiment did not determine, as text."""
    from waldo.robots.thermal.fit import NAMES

    missing = [name for name in NAMES if not fit.is_identified(name)]
    if has_driver_sensor and not fit.is_sensor_identified:
        missing.append("driver_sensor_ratio")
    return [f"{name} is not determined: {ADVICE[name]}" for name in missing]
