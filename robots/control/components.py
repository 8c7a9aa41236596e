"""The status of a robot's components: its control mode, its governor and its cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from waldo.robots.control.changes import ChangeFilter
from waldo.robots.control.safety import Mode, Status
from waldo.robots.diagnostics import CONTROL, ERROR, GOVERNOR, OK, RATE_KEY, WARN, ComponentStatus
from waldo.robots.event import Event
from waldo.robots.thermal.governor import Governor

LEVELS = ("ok", "warning", "error")
"""Name of each diagnostic level."""


def control_status(status: Status, rate_hz: float) -> ComponentStatus:
    """Return the status of the component "control": a stop is an error, a hold because of a fault a warning.

    Args:
        status: Mode of the safety chain.
        rate_hz: Rate at which the robot publishes its state [Hz].
    """
    level = ERROR if status.mode is Mode.STOPPED else WARN if status.is_fault else OK
    values = {"mode": status.mode.value, "reason": status.reason, RATE_KEY: format(rate_hz, "g")}
    return ComponentStatus(component=CONTROL, level=level, message=str(status), values=values)


def governor_status(governor: Governor, joints: Sequence[str]) -> ComponentStatus:
    """Return the status of the component "governor": any reduction of speed is a warning."""
    text = governor.describe(joints)
    values = {
        "speed_ratio": format(governor.derating.speed_ratio, ".3g"),
        "needs_rest": str(governor.derating.needs_rest).lower(),
    }
    return ComponentStatus(component=GOVERNOR, level=WARN if text else OK, message=text or "full speed", values=values)


def camera_status(camera: str, fault: str) -> ComponentStatus:
    """Return the status of the component "camera NAME": a fault is an error, since frames are lost."""
    return ComponentStatus(component=f"camera {camera}", level=ERROR if fault else OK, message=fault or "no fault")


class ComponentMonitor:
    """Reports the statuses of all components on each change and at a fixed interval."""

    def __init__(self, period_cycles: int) -> None:
        self._period_cycles, self._cycle = period_cycles, 0
        self._changes = ChangeFilter()

    def update(self, statuses: Sequence[ComponentStatus]) -> tuple[bool, list[Event]]:
        """Register the statuses of one cycle.

        Returns:
            Whether to publish them, and an event for each change of the control mode and the governor. Cameras report
            events of their own, which include a fault shorter than a cycle.
        """
        changed = [
            one for one in statuses if self._changes.changed(one.component, f"{LEVELS[one.level]}: {one.message}")
        ]
        due = self._cycle % self._period_cycles == 0
        first, self._cycle = self._cycle == 0, self._cycle + 1
        events = [
            Event(one.message if one.component == CONTROL else f"{one.component}: {one.message}", one.level)
            for one in changed
            if not one.component.startswith("camera ") and not (first and one.component == GOVERNOR)
        ]
        return due or bool(changed), events


def merge_faults(sources: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return camera -> faults of several monitors, joined."""
    merged: dict[str, str] = {}
    for source in sources:
        for camera, fault in source.items():
            merged[camera] = "; ".join(filter(None, (merged.get(camera, ""), fault)))
    return merged
