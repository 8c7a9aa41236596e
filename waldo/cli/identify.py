"""`waldo identify`: fit a motor's thermal constants to episodes, a guided experiment, or a manufacturer's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

from waldo import console
from waldo.cli.support.guided import GuidedOptions, advice, fit_record, measure
from waldo.errors import InvalidValueError, MissingOptionError, UnsupportedOptionError

if TYPE_CHECKING:
    from waldo.datasets.dataset import Dataset
    from waldo.robots.description import Joint, Robot
    from waldo.robots.guided.record import HeatRecord
    from waldo.robots.thermal.fit import ThermalFit


NOT_DETERMINED = "not determined by the data"
"""Note beside a constant whose uncertainty is that of the prior."""


@dataclass(frozen=True, kw_only=True)
class Identify:
    """Fit the thermal constants of a robot's motors to recordings, with their uncertainty.

    From a dataset: every motor whose temperature changed by some kelvins. With --guided: one joint of a real robot,
    which rests, holds a load, swings and cools down within limits. From a CSV file with the columns torque_nm,seconds:
    one motor, and the error of predicting rows that the fit has not seen.
    """

    source: tyro.conf.Positional[str]
    """Dataset folder, record of a guided experiment (.json), or overload table (.csv); with --guided the robot, such as
    so101."""
    guided: bool = False
    """Run an experiment on a joint of a robot: waldo identify so101 --guided --driver feetech --port /dev/ttyACM0
    --joint elbow_flex."""
    joints: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(aliases=["--joint"])] = ()
    """Joint whose motor is fitted; may be given several times. Default: all joints."""
    out: Path | None = None
    """File to write the constants to, for `waldo robot --motors FILE`."""
    ambient_c: float | None = None
    """Air temperature [°C]. Default: fitted for a dataset, 25 for a table."""
    limit_c: float = 145.0
    """Temperature limit of an overload table [°C]."""
    experiment: Annotated[GuidedOptions, tyro.conf.arg(name="")] = field(default_factory=GuidedOptions)
    """Options of a guided experiment."""

    def run(self) -> int:
        """Fit the constants and print them."""
        if self.guided:
            return self._fit_record(*measure(self.source, self.joints, self.experiment))
        if self.experiment != GuidedOptions():
            changed = next(f for f in fields(GuidedOptions) if getattr(self.experiment, f.name) != f.default)
            raise MissingOptionError(f"--{changed.name}", "--guided")
        if self.source.endswith(".json"):
            from waldo.robots.guided.record import load_record

            return self._fit_record(load_record(Path(self.source)), Path(self.source))
        return self._table() if self.source.endswith(".csv") else self._dataset()

    def _fit_record(self, record: HeatRecord, path: Path) -> int:
        """Fit the record of a guided experiment, and print what it determines and what it does not."""
        from waldo.robots.thermal import constants_file
        from waldo.robots.thermal.fit import InsufficientDataError

        try:
            fit = fit_record(record, self.ambient_c)
        except InsufficientDataError as error:
            console.out().print(f"{record.joint}: {error}")
            return 1
        console.out().print(_show({record.joint: fit}))
        has_driver_sensor = any(np.isfinite(run.driver_c).any() for run in record.runs)
        for text in advice(fit, has_driver_sensor):
            console.out().print(f"[yellow]{record.joint}: {text}[/yellow]")
        minutes = f"{record.seconds / 60:.0f} min of measurements"
        console.out().print(f"{minutes} in {path}; fit again: waldo identify {path}")
        if self.out is not None:
            constants_file.save(self.out, record.robot, {record.joint: fit})
            use = f"waldo robot {record.robot} --motors {self.out}"
            console.out().print(f"constants written to {self.out}; use: {use}")
        return 0

    def _dataset(self) -> int:
        from waldo.datasets.dataset import Dataset
        from waldo.robots.description import load_robot
        from waldo.robots.thermal import constants_file
        from waldo.robots.thermal.fit import describe_mismatch

        dataset = Dataset.open(self.source)
        robot = load_robot(dataset.robot)
        joints = self._selected(robot)
        fits, failed = self._fit(dataset, joints)
        console.out().print(_show(fits))
        for joint in joints:
            assumed = joint.motor.thermal
            if joint.name in fits and assumed and (text := describe_mismatch(fits[joint.name], assumed)):
                console.out().print(f"[yellow]{joint.name}: {text}[/yellow]")
        for joint, reason in failed.items():
            console.out().print(reason if reason.startswith(joint) else f"{joint}: {reason}")
        if self.out is not None and fits:
            constants_file.save(self.out, robot.name, fits)
            console.out().print(f"constants written to {self.out}; use: waldo robot {robot.name} --motors {self.out}")
        return 0 if fits else 1

    def _selected(self, robot: Robot) -> list[Joint]:
        """Return the joints whose motors are fitted."""
        for name in self.joints:
            if name not in robot.joint_names:
                raise InvalidValueError("joints", name, f"one of {', '.join(robot.joint_names)}")
        return [joint for joint in robot.joints if not self.joints or joint.name in self.joints]

    def _fit(self, dataset: Dataset, joints: list[Joint]) -> tuple[dict[str, ThermalFit], dict[str, str]]:
        """Fit the motors with a progress bar."""
        from waldo.datasets.quality.identify import identify

        with console.progress() as progress:
            bar = progress.add_task("fitting", total=len(joints), note="")
            return identify(
                dataset,
                joints,
                ambient_c=self.ambient_c,
                advance=lambda joint: progress.update(bar, advance=1, note=joint),
            )

    def _table(self) -> int:
        from rich.table import Table

        from waldo.robots.motors.overload_table import fit_table, held_out, read_table

        if self.out is not None:
            do = "a table determines no resistance and therefore no heat in watts"
            raise UnsupportedOptionError("--out", "an overload table", ("a dataset",), do)
        table = read_table(Path(self.source), limit_c=self.limit_c, ambient_c=self.ambient_c or 25.0)
        fit = fit_table(table)
        shown = Table("torque N·m", "seconds", "fitted", title=f"time until {self.limit_c:g} °C", title_justify="left")
        for torque, time, fitted in zip(table.torque_nm, table.seconds, fit.seconds(table.torque_nm), strict=True):
            shown.add_row(f"{torque:g}", f"{time:g}", f"{fitted:.3g}")
        console.out().print(shown)
        c = fit.constants
        winding, housing = c.winding_to_housing_k_per_w, c.housing_to_ambient_k_per_w
        fast_s, slow_s = winding * c.winding_j_per_k, housing * c.housing_j_per_k
        inside = winding / (winding + housing)
        console.out().print(f"time constants: winding {fast_s:.0f} s, housing {slow_s:.0f} s")
        console.out().print(f"steady rise: {winding + housing:.3g} K per (N·m)², {inside:.0%} of it in the winding")
        if len(table.seconds) > 3:
            errors = np.abs(held_out(table))
            console.out().print(f"held-out rows: median error {np.median(errors):.0%}, maximum {errors.max():.0%}")
        return 0


def _show(fits: Mapping[str, ThermalFit]) -> object:
    """Return a table of the fits; constants that the data do not determine are marked."""
    from rich.table import Table

    from waldo.robots.thermal.fit import NAMES

    table = Table("joint", "constant", "value", "", title_justify="left")
    for joint, fit in fits.items():
        values = [fit.heat_scale, *(getattr(fit.constants, name) for name in NAMES[1:])]
        for name, value, std in zip(NAMES, values, fit.std, strict=True):
            note = "" if fit.is_identified(name) else NOT_DETERMINED
            table.add_row(joint, name, f"{value:.3g} ±{std:.0%}", note)
        c = fit.constants
        note = "" if fit.is_sensor_identified else NOT_DETERMINED
        table.add_row(joint, "driver_sensor_ratio", f"{c.driver_sensor_ratio:.2f} ±{c.driver_sensor_std:.2f}", note)
        table.add_row(joint, "ambient", f"{fit.ambient_c:.1f} °C", f"{fit.rms_k:.2f} K unexplained")
    return table
