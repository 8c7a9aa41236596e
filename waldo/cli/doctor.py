"""`waldo doctor`: check this machine and suggest fixes. The checks are in waldo/checks."""

from __future__ import annotations

import dataclasses
import json as json_module
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from waldo.checks.finding import Check, Finding, warn
from waldo.errors import count

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

TIME_LIMIT_S = 15.0
"""Timeout of all checks together [s]; a check that has not finished by then is reported as a warning."""

STYLES = {"OK": "green", "WARN": "yellow", "FAIL": "bold red", "absent": "dim"}


def all_checks(folder: Path) -> dict[str, Check]:
    """Return the checks in the order of the table. They are imported here, so a broken one affects no other command."""
    from waldo.checks import devices, graphics, machine, network, software, storage

    return {
        "python": software.check_python,
        "extras": software.check_extras,
        "rclpy": software.check_ros_import,
        "video": software.check_h264,
        "graphics": graphics.check_graphics,
        "GPU": machine.check_gpu,
        "DDS": network.check_dds,
        "ROS message": network.check_message,
        "devices": devices.check_devices,
        "disk": partial(storage.check_disk, folder),
        "clock": machine.check_clock,
        "machine": machine.check_machine,
    }


def run_checks(checks: Mapping[str, Check], time_limit_s: float, progress: Progress | None = None) -> list[Finding]:
    """Run all checks in parallel and return their findings in order; a check that fails or hangs becomes a finding."""
    done: SimpleQueue[tuple[str, list[Finding]]] = SimpleQueue()

    def run(name: str, check: Check) -> None:
        try:
            findings = check()
        except Exception as error:  # one broken check must not hide the findings of the others
            findings = [
                warn(name, f"the check failed ({type(error).__name__}: {error})", "report this as a bug in waldo")
            ]
        done.put((name, findings))

    for name, check in checks.items():
        Thread(target=run, args=(name, check), daemon=True).start()
    bar = progress.add_task("checking", total=len(checks), note="") if progress else None
    deadline = time.monotonic() + time_limit_s
    found: dict[str, list[Finding]] = {}
    while len(found) < len(checks):
        try:
            name, findings = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        found[name] = findings
        if progress and bar is not None:
            progress.update(bar, advance=1, note=name)
    late = f"no result after {time_limit_s:.0f} s"
    hung = "run waldo doctor again when the machine is less busy"
    return [finding for name in checks for finding in found.get(name, [warn(name, late, hung)])]


def table_of(findings: Sequence[Finding]) -> Table:
    """Return the findings as a table; the suggested fix is below each finding."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        text = Text(finding.found, style="dim" if finding.state == "absent" else "")
        if finding.fix:
            text.append(f"\n-> {finding.fix}", style=STYLES[finding.state].removeprefix("bold "))
        table.add_row(Text(finding.state, style=STYLES[finding.state]), finding.check, text)
    return table


def summary_of(findings: Sequence[Finding]) -> str:
    """Return the last line: the numbers of errors and warnings."""
    failed = sum(finding.state == "FAIL" for finding in findings)
    warned = sum(finding.state == "WARN" for finding in findings)
    if not failed and not warned:
        return "no problems found"
    parts = [count(number, noun) for number, noun in ((failed, "error"), (warned, "warning")) if number]
    return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Check this machine and suggest fixes. Exit code 1 if a part of waldo cannot work here."""

    folder: Path = Path(".")
    """Folder in which episodes will be recorded; the speed of its disk is measured."""
    json: bool = False
    """Print the findings as JSON."""

    def run(self) -> int:
        """Run all checks and print the findings."""
        from waldo.console import out, progress

        checks = all_checks(self.folder)
        if self.json:
            findings = run_checks(checks, TIME_LIMIT_S)
            out().print(self.as_json(findings), markup=False)
        else:
            with progress() as display:
                findings = run_checks(checks, TIME_LIMIT_S, display)
            out().print(table_of(findings), soft_wrap=False)
            out().print(summary_of(findings))
        return int(any(finding.state == "FAIL" for finding in findings))

    def as_json(self, findings: Sequence[Finding]) -> str:
        """Return the findings as JSON."""
        failed = sum(finding.state == "FAIL" for finding in findings)
        listed = [dataclasses.asdict(finding) for finding in findings]
        return json_module.dumps({"failed": failed, "findings": listed}, indent=2, ensure_ascii=False)
