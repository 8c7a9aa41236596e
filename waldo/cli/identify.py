"""`waldo identify`: a motor's thermal constants from recorded episodes, or from a maker's overload table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

from waldo import console
from waldo.errors import InvalidValueError

if TYPE_CHECKING:
    from waldo.robots.thermal.fit import Fit


@dataclass(frozen=True, kw_only=True)
class Identify:
    """Fit the thermal constants of a robot's motors to what was recorded of them, with their uncertainty.

    From a dataset: every motor that warmed up by some kelvins. From a CSV file with the columns torque_nm,seconds: one
    motor, and how well rows that were held out are told.
    """

    source: tyro.conf.Positional[str]
    """A dataset's folder, or an overload table (.csv)."""
    joints: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Joints whose motors are fitted; all of them unless named."""
    out: Path | None = None
    """Write the constants to this file, for `waldo robot --motors FILE`."""
    ambient_c: float | None = None
    """The air's temperature [°C]; fitted too unless given. A table's is 25 unless given."""
    limit_c: float = 145.0
    """The temperature that ends the times of a table [°C]."""

    def run(self) -> int:
        """Fit and print."""
        return self._table() if self.source.endswith(".csv") else self._dataset()

    def _dataset(self) -> int:
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.quality.identify import identify
        from waldo.robots.description import load_robot
        from waldo.robots.thermal import constants_file
        from waldo.robots.thermal.fit import unlike

        dataset = Dataset.open(self.source)
        robot = load_robot(dataset.robot)
        for name in self.joints:
            if name not in robot.joint_names:
                raise InvalidValueError("joints", name, f"any of {', '.join(robot.joint_names)}")
        joints = [joint for joint in robot.joints if not self.joints or joint.name in self.joints]
        with console.progress() as progress:
            bar = progress.add_task("fitting", total=len(joints), note="")
            fits, silent = identify(
                dataset,
                joints,
                ambient_c=self.ambient_c,
                advance=lambda joint: progress.update(bar, advance=1, note=joint),
            )
        console.out().print(_show(fits))
        for joint in joints:
            assumed = joint.motor.thermal
            if joint.name in fits and assumed and (text := unlike(fits[joint.name], assumed)):
                console.out().print(f"[yellow]{joint.name}: {text}[/yellow]")
        for joint, why in silent.items():
            console.out().print(f"{joint}: {why}" if not why.startswith(joint) else why)
        if self.out is not None and fits:
            constants_file.save(self.out, robot.name, fits)
            console.out().print(f"{self.out}: use it with: waldo robot {robot.name} --motors {self.out}")
        return 0 if fits else 1

    def _table(self) -> int:
        from rich.table import Table

        from waldo.robots.motors.overload_table import fit_table, held_out, read_table

        table = read_table(Path(self.source), limit_c=self.limit_c, ambient_c=self.ambient_c or 25.0)
        found = fit_table(table)
        shown = Table("torque N·m", "seconds", "fitted", title=f"until {self.limit_c:g} °C", title_justify="left")
        for torque, seconds, told in zip(table.torque_nm, table.seconds, found.seconds(table.torque_nm), strict=True):
            shown.add_row(f"{torque:g}", f"{seconds:g}", f"{told:.3g}")
        console.out().print(shown)
        c = found.constants
        winding, housing = c.winding_to_housing_k_per_w, c.housing_to_ambient_k_per_w
        fast_s, slow_s = winding * c.winding_j_per_k, housing * c.housing_j_per_k
        inside = winding / (winding + housing)
        console.out().print(f"time constants: winding {fast_s:.0f} s, housing {slow_s:.0f} s")
        console.out().print(f"steady rise {winding + housing:.3g} K per (N·m)², {inside:.0%} of it in the winding")
        if len(table.seconds) > 3:
            errors = np.abs(held_out(table))
            console.out().print(
                f"rows held out: error {np.median(errors):.0%} in the median, at most {errors.max():.0%}"
            )
        if self.out is not None:
            raise InvalidValueError(
                "out", str(self.out), "nothing for a table", "a table tells no watts: it has no resistance"
            )
        return 0


def _show(fits: dict[str, Fit]) -> object:
    """Return the table of what was fitted; what the data did not tell is marked."""
    from rich.table import Table

    from waldo.robots.thermal.fit import NAMES

    table = Table("joint", "constant", "value", "", title_justify="left")
    for joint, found in fits.items():
        values = [found.heat_scale, *(getattr(found.constants, name) for name in NAMES[1:])]
        for name, value, std in zip(NAMES, values, found.std, strict=True):
            table.add_row(joint, name, f"{value:.3g} ±{std:.0%}", "" if found.learned(name) else "as assumed")
        table.add_row(joint, "air", f"{found.ambient_c:.1f} °C", f"{found.rms_k:.2f} K unexplained")
    return table
