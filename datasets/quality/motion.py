"""How commands and joints relate: commands beyond limits or changed by the robot, delay, and time without motion.

An episode is divided into stretches of two seconds. A recorder measures them while it records; a check measures the
same ones in the stored values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.quality.finding import Finding, problem
from waldo.datasets.quality.rules import Rules
from waldo.errors import count
from waldo.robots.description import Joint
from waldo.typing import Array

STRETCH_S = 2.0
"""Length of a stretch [s]."""
MAX_LAG_S = 1.0
"""Largest delay that is searched for [s]."""
GRID_S = 0.02
"""Resolution of the delay [s]."""
COMMANDED_RAD = 0.1
"""Movement of a joint's command within a stretch from which the delay can be measured [rad]."""
IDLE_S = 4.0
"""Length of an episode from which the time without motion is checked [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """Positions of joints over time."""

    stamp_ns: NDArray[np.int64]
    """Shape (T,) [ns since the epoch]."""
    position: Array
    """Shape (T, joints) [rad or m]; NaN while there is no command."""

    def before(self, instants_ns: NDArray[np.int64]) -> Array:
        """Return the newest positions at each of some instants, shape (instants, joints); NaN before the first."""
        found = np.full((len(instants_ns), self.position.shape[1]), np.nan)
        at = np.searchsorted(self.stamp_ns, instants_ns, side="right") - 1
        found[at >= 0] = self.position[at[at >= 0]]
        return found

    def between(self, start_ns: int, stop_ns: int) -> Positions:
        """Return those from `start_ns` on and before `stop_ns`."""
        first, last = np.searchsorted(self.stamp_ns, [start_ns, stop_ns])
        return Positions(stamp_ns=self.stamp_ns[first:last], position=self.position[first:last])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What happens in two seconds."""

    moved_rad: float
    """Largest movement of a joint [rad]; NaN without states."""
    lag_s: float
    """Delay of the joints behind their commands [s]; NaN if the commands do not move."""
    changed: int
    """Number of applied commands that differ from the operator's."""
    applied: int
    """Number of applied commands while the operator was engaged."""


def measure(
    state: Positions, command: Positions | None, applied: Positions | None, start_ns: int, rules: Rules
) -> Stretch:
    """Return what happens from `start_ns` on; the positions may include times before and after the stretch."""
    stop_ns = start_ns + int(STRETCH_S * 1e9)
    inside = state.between(start_ns, stop_ns)
    moved = float(np.ptp(inside.position, axis=0).max()) if len(inside.stamp_ns) else float("nan")
    changed, total = (
        (0, 0) if command is None or applied is None else _changed(command, applied, start_ns, stop_ns, rules)
    )
    lag_s = float("nan") if command is None else _lag_s(state, command, start_ns, stop_ns)
    return Stretch(moved_rad=moved, lag_s=lag_s, changed=changed, applied=total)


def _changed(command: Positions, applied: Positions, start_ns: int, stop_ns: int, rules: Rules) -> tuple[int, int]:
    """Return the number of applied commands that differ from the operator's, and of those with one."""
    inside = applied.between(start_ns, stop_ns)
    difference = np.abs(inside.position - command.before(inside.stamp_ns))
    known = np.isfinite(difference).any(axis=1)
    return int((np.nan_to_num(difference[known]) > rules.clipped_rad).any(axis=1).sum()), int(known.sum())


def _lag_s(state: Positions, command: Positions, start_ns: int, stop_ns: int) -> float:
    """Return the delay with which the joints follow best, by least squares [s]; NaN if the commands do not move."""
    grid = np.arange(start_ns, stop_ns, int(GRID_S * 1e9))
    shifts = np.arange(0, int(MAX_LAG_S / GRID_S) + 1)
    earlier = start_ns - shifts[:0:-1] * int(GRID_S * 1e9)
    commanded = command.before(np.concatenate([earlier, grid]))
    measured = state.before(grid)
    usable = np.isfinite(commanded).all(axis=0) & np.isfinite(measured).all(axis=0)
    usable &= np.ptp(np.nan_to_num(commanded[len(earlier) :]), axis=0) > COMMANDED_RAD
    if not usable.any() or not len(state.stamp_ns) or state.stamp_ns[-1] < stop_ns - STRETCH_S * 1e9 / 2:
        return float("nan")
    measured, commanded = measured[:, usable], commanded[:, usable]
    # Without the mean difference: an arm that hangs below its command by its own weight is not late.
    errors = [_spread(measured - commanded[len(earlier) - k : len(earlier) - k + len(grid)]) for k in shifts.tolist()]
    return float(shifts[int(np.argmin(errors))] * GRID_S)


def _spread(difference: Array) -> float:
    return float(((difference - difference.mean(axis=0)) ** 2).sum())


def check_motion(stretches: Sequence[Stretch], rules: Rules) -> Iterator[Finding]:
    """Yield the findings on the stretches of an episode."""
    changed, applied = sum(one.changed for one in stretches), sum(one.applied for one in stretches)
    if applied and changed / applied > rules.clipped_ratio:
        text = f"{changed / applied:.0%} of the commands were changed, expected at most {rules.clipped_ratio:.0%}"
        yield problem("clipped", "", f"{text}; the robot limits their speed, range or heat")
    lags = [one.lag_s for one in stretches if np.isfinite(one.lag_s)]
    if lags and (lag_s := float(np.median(lags))) > rules.lag_s:
        yield problem("lag", "", f"the joints follow their commands {lag_s:.2f} s late, expected {rules.lag_s:g} s")
    moved = [one.moved_rad for one in stretches if np.isfinite(one.moved_rad)]
    if len(moved) * STRETCH_S < IDLE_S:
        return
    idle = float(np.mean(np.array(moved) <= rules.idle_rad))
    if idle > rules.idle_ratio:
        yield problem("idle", "", f"no joint moves in {idle:.0%} of the episode, expected {rules.idle_ratio:.0%}")


def check_limits(
    stream: str, position: Array, labels: Sequence[str], joints: Sequence[Joint], rules: Rules
) -> Iterator[Finding]:
    """Yield a finding for each joint that is commanded beyond its limits.

    Args:
        stream: The stream of the commands.
        position: Shape (T, labels) [rad or m].
        labels: Names of the joints.
        joints: The robot's joints.
        rules: The limits.
    """
    known = {joint.name: joint for joint in joints}
    for column, label in enumerate(labels):
        if label not in known or not len(position):
            continue
        low, high = known[label].lower, known[label].upper
        beyond = np.maximum(low - position[:, column], position[:, column] - high)
        worst = int(np.nanargmax(np.append(beyond, -np.inf)))
        if worst < len(beyond) and beyond[worst] > rules.limit_rad:
            text = (
                f"{label} is commanded to {position[worst, column]:.3f} rad (limits {low:.3f} to {high:.3f} rad); "
                f"{count(int((beyond > rules.limit_rad).sum()), 'row')} beyond the limits"
            )
            yield problem("limit", stream, text)


def check_heat(
    stream: str, peaks_c: Sequence[float], labels: Sequence[str], joints: Sequence[Joint], rules: Rules
) -> Iterator[Finding]:
    """Yield a finding for each motor whose winding came too near its limit.

    Args:
        stream: The stream of the motors.
        peaks_c: Highest temperature of each winding [°C]; -inf if unknown.
        labels: Names of the joints.
        joints: The robot's joints.
        rules: The limits.
    """
    motors = {joint.name: joint.motor for joint in joints}
    for label, peak in zip(labels, peaks_c, strict=True):
        limit = motors[label].winding_limit_c if label in motors else None
        if limit is not None and peak >= limit - rules.heat_margin_kelvin:
            margin = f", margin {rules.heat_margin_kelvin:g} K" if rules.heat_margin_kelvin else ""
            text = f"the winding of {label} reached {peak:.1f} °C (limit {limit:.1f} °C{margin})"
            yield problem("heat", stream, text)
