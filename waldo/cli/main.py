"""The `waldo` command: find the subcommand, parse its options, run it.

A subcommand is a frozen keyword-only dataclass with a method `run() -> int`; its fields are its options. It is imported
when it is called, so `waldo --help` loads nothing else. `--config FILE.yaml` reads options from a file.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, Protocol, cast

from waldo.cli.support.extras import extra_of
from waldo.errors import MissingExtraError, UnknownNameError, UsageError, WaldoError


class Command(Protocol):
    """The interface of every subcommand's dataclass."""

    def run(self) -> int:
        """Run the command and return its exit code."""
        ...


COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("waldo.cli.demo:Demo", "run every part of waldo on this machine, from teleoperation to evaluation"),
    "robot": ("waldo.cli.robot:RobotCommand", "run a robot: a simulated twin or real hardware"),
    "teleop": (
        "waldo.cli.teleop:Teleop",
        "teleoperate a robot: keyboard, gamepad, leader arm, scripted operator",
    ),
    "record": ("waldo.cli.record:Record", "record episodes from a running robot"),
    "info": ("waldo.cli.dataset:Info", "print a summary of a dataset"),
    "check": ("waldo.cli.dataset:Check", "check a dataset for gaps, losses, frozen cameras, limits and heat"),
    "recover": ("waldo.cli.dataset:Recover", "recover episodes that a crash interrupted"),
    "view": ("waldo.cli.view:View", "view an episode in Rerun or as a page for any browser"),
    "latency": ("waldo.cli.latency:LatencyCommand", "measure the latency of each camera's timestamps"),
    "list": ("waldo.cli.edit:List", "list episodes, optionally filtered"),
    "delete": ("waldo.cli.edit:Delete", "mark episodes as deleted; `restore` undoes it"),
    "restore": ("waldo.cli.edit:Restore", "restore deleted episodes"),
    "relabel": ("waldo.cli.edit:Relabel", "change the instruction or outcome of episodes"),
    "filter": ("waldo.cli.edit:Filter", "create a dataset from selected episodes, by hard links"),
    "merge": ("waldo.cli.edit:Merge", "merge datasets into a new one, by hard links"),
    "split": ("waldo.cli.edit:Split", "split a dataset into several, by hard links"),
    "push": ("waldo.cli.transfer:Push", "upload a dataset to an object store"),
    "pull": ("waldo.cli.transfer:Pull", "download a dataset from an object store"),
    "gc": ("waldo.cli.edit:Prune", "permanently remove deleted episodes"),
    "import": ("waldo.cli.formats:Import", "import LeRobot, replay buffer, UMI, robomimic, ALOHA or bag files"),
    "export": ("waldo.cli.formats:Export", "export a dataset to LeRobot v3.0, replay buffers, UMI or ROS 2 bags"),
    "cache": ("waldo.cli.cache:Cache", "build or verify a cache of decoded frames for training"),
    "train": ("waldo.cli.train:Train", "train a LeRobot policy on a dataset"),
    "plan": ("waldo.cli.plan:Plan", "decompose an instruction into subtasks"),
    "eval": ("waldo.cli.eval:Evaluate", "evaluate a policy in simulation, including motor heat"),
    "fleet": ("waldo.cli.fleet:Fleet", "serve a dashboard of the robots on this network"),
    "identify": ("waldo.cli.identify:Identify", "fit motors' thermal constants to recorded episodes"),
    "calibrate": ("waldo.cli.calibrate:Calibrate", "calibrate a servo arm, or print its calibration"),
    "emulate": ("waldo.cli.emulate:Emulate", "emulate a robot's motors on a serial port, CAN bus or DDS"),
    "motors": ("waldo.cli.robot:Motors", "print the motor library with its sources"),
    "doctor": ("waldo.cli.doctor:Doctor", "check this machine and suggest fixes"),
}
"""Subcommand -> (class, one line of help)."""


def help_text() -> str:
    """Return the text of `waldo --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: waldo COMMAND [options]",
            "",
            "One open stack for robot teleoperation data and VLA training, which forecasts and governs motor heat.",
            "",
            "commands:",
            *lines,
            "",
            "`waldo COMMAND --help` lists a command's options; `--config FILE.yaml` reads them from a file.",
        ]
    )


def parse(name: str, args: Sequence[str]) -> Command:
    """Return the subcommand `name` with options from its YAML file, if one is given, and its arguments."""
    if name not in COMMANDS:
        raise UnknownNameError("command", name, COMMANDS)
    module, _, attribute = COMMANDS[name][0].partition(":")
    command = cast("type[Command]", getattr(importlib.import_module(module), attribute))
    import tyro

    from waldo.cli.support.config import load_defaults, split_config

    path, words = split_config(args)
    # A command may have options that depend on its arguments, and option groups with a prefix.
    for_arguments = getattr(command, "for_arguments", None)
    command = command if for_arguments is None else for_arguments(words, path)
    config = getattr(command, "tyro_config", (tyro.conf.OmitArgPrefixes,))
    options: dict[str, Any] = {} if path is None else {"default": load_defaults(command, path)}
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(command, prog=f"waldo {name}", args=words, config=config, **options)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(name, one_line(errors.getvalue())) from None


def one_line(box: str) -> str:
    """Return the text inside tyro's error box as one line, without its reference to the help."""
    inner = [line.strip("│ ").strip() for line in box.splitlines() if line.startswith("│")]
    joined = " ".join("|" if set(line) == {"─"} else line for line in inner if line).split("|")
    sections = [section.strip() for section in joined if section.strip() and "For full helptext" not in section]
    return "; ".join(sections) or " ".join(box.split())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 success, 1 a check failed, 2 invalid input, 130 interrupted."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        sys.stdout.write(help_text() + "\n")
        return 0
    if args[0] == "--version":
        from waldo import __version__

        sys.stdout.write(f"waldo {__version__}\n")
        return 0
    if threading.current_thread() is threading.main_thread():
        # A service manager stops a process with SIGTERM; handle it like Ctrl-C, so that files are closed in order.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return parse(args[0], args[1:]).run()
    except WaldoError as error:
        sys.stderr.write(f"waldo: error: {error}\n")
        return 2
    except OSError as error:
        if error.filename is None:
            raise
        sys.stderr.write(f"waldo: error: {error.filename}: {error.strerror}\n")
        return 2
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = extra_of(package)
        if extra is None:
            raise
        sys.stderr.write(f"waldo: error: {MissingExtraError(package, extra)}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nwaldo: interrupted\n")
        return 130
