"""`waldo unitree` asks or changes which of a Unitree robot's own controllers moves it, and what a G1's legs do."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

import tyro

from waldo import console
from waldo.errors import MissingOptionError

type Action = Literal["status", "stand", "damp", "sit", "squat", "zero_torque", "release", "select"]
"""What the command does."""

FALLS = ("zero_torque", "release")
"""Actions after which a standing robot falls; damp sinks slowly and is the emergency stop, so it does not ask."""


@dataclass(frozen=True, kw_only=True)
class Unitree:
    """Query or change the state of a Unitree robot's own controller, over the services of its SDK.

    Rehearse it with `waldo emulate g1 --controller ai`.
    """

    action: tyro.conf.Positional[Action] = "status"
    """status; stand, damp, sit, squat or zero_torque for a G1's legs; release: stop the controller, so that rt/lowcmd
    can be used; select: start the controller NAME."""
    name: tyro.conf.Positional[str] = "ai"
    """With select: name of the controller."""
    interface: str = ""
    """Network interface to the robot: eth0, lo, ...; chosen by Cyclone DDS by default."""
    domain: int = 0
    """DDS domain; 0 on the robots."""
    yes: bool = False
    """With release and zero_torque: do not ask whether the robot is suspended."""

    def run(self) -> int:
        """Perform the action and print the resulting state."""
        from waldo.robots.drivers.unitree.services import FSM, OLDER_START, Locomotion, MotionSwitcher

        if self.action in FALLS and not self.yes:
            _ask_whether_suspended(self.action)
        with MotionSwitcher(self.domain, self.interface) as switcher:
            if self.action == "release":
                switcher.release()
            elif self.action == "select":
                switcher.select(self.name)
            active = switcher.active()
        line = f"controller: {active}" if active else "controller: none (debug mode)"
        if active and self.action not in ("release", "select"):
            with Locomotion(self.domain, self.interface) as locomotion:
                if self.action != "status":
                    locomotion.act(self.action)
                number = locomotion.state()
            names = {state: action for action, state in FSM.items()} | {OLDER_START: "stand"}
            name = names.get(number, "another state")
            line += f"; locomotion: {number} ({name})"
        elif not active and self.action in FSM:
            raise MissingOptionError(
                f"waldo unitree {self.action}", "an active controller", "start one with: waldo unitree select ai"
            )
        console.out().print(line, markup=False)
        return 0


def _ask_whether_suspended(action: str) -> None:
    """Return once the user has confirmed that the robot cannot fall.

    Raises:
        MissingOptionError: If there is no terminal, or the user does not confirm.
    """
    do = "suspend the robot or let it lie down, then pass --yes"
    if not sys.stdin.isatty():
        raise MissingOptionError(f"waldo unitree {action}", "--yes without a terminal: a standing robot falls", do)
    console.err().print(f"A standing robot falls on {action}. Is it suspended? Type yes: ", markup=False, end="")
    if sys.stdin.readline().strip().lower() != "yes":
        raise MissingOptionError(f"waldo unitree {action}", "the answer yes: a standing robot falls", do)
