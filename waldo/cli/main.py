"""The `waldo` command: find the subcommand, parse its options, run it.

A subcommand is a frozen keyword-only dataclass with a method `run() -> int`; its fields are its options. It is imported
when it is called, so `waldo --help` loads nothing else. `--config FILE.yaml` reads options from a file.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import select
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from waldo.cli.support.extras import extra_of
from waldo.errors import MissingExtraError, NotADatasetError, UnknownNameError, UsageError, WaldoError


class Command(Protocol):
    """The interface of every subcommand's dataclass."""

    def run(self) -> int:
        """Run the command and return its exit code."""
        ...


PIPE_CLOSED = 141
"""Exit code of a program that SIGPIPE ends, by the convention of shells."""

DEVICE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE)
"""Errors of the machine during a run; other errors that name a file are those of a path that cannot be used."""

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("waldo.cli.demo:Demo", "run every part of waldo on this machine, from teleoperation to evaluation"),
    "robot": ("waldo.cli.robot:RobotCommand", "run a robot: a simulated twin or real hardware"),
    "teleop": (
        "waldo.cli.teleop:Teleop",
        "teleoperate a robot: keyboard, gamepad, leader arm, scripted operator",
    ),
    "record": ("waldo.cli.record:Record", "record episodes from a running robot"),
    "operate": ("waldo.cli.operate:Operate", "record episodes from a console in the browser"),
    "info": ("waldo.cli.dataset:Info", "print a summary of a dataset"),
    "check": ("waldo.cli.dataset:Check", "check a dataset for gaps, losses, frozen cameras, limits and heat"),
    "report": ("waldo.cli.dataset:Report", "write a page about a recording session: yield, losses, heat, what to fix"),
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
    "train": ("waldo.cli.policies.train:Train", "train a LeRobot policy on a dataset"),
    "serve": ("waldo.cli.policies.serve:Serve", "serve a policy to robots and openpi clients"),
    "run": ("waldo.cli.policies.run:Run", "let a policy drive a robot, local or from a server"),
    "improve": ("waldo.cli.policies.improve:Improve", "correct a policy's mistakes and train it again, with a ledger"),
    "reinforce": (
        "waldo.cli.policies.reinforce:Reinforce",
        "reinforcement learning on the simulated twin",
    ),
    "plan": ("waldo.cli.policies.plan:Plan", "decompose an instruction into subtasks"),
    "eval": ("waldo.cli.policies.eval:Evaluate", "evaluate a policy in simulation, including motor heat"),
    "fleet": ("waldo.cli.fleet:Fleet", "serve a dashboard of the robots on this network"),
    "identify": ("waldo.cli.identify:Identify", "fit motors' thermal constants to episodes or a guided experiment"),
    "calibrate": ("waldo.cli.calibrate:Calibrate", "calibrate a servo arm, or print its calibration"),
    "emulate": ("waldo.cli.emulate:Emulate", "emulate a robot's motors on a serial port, CAN bus or DDS"),
    "unitree": ("waldo.cli.unitree:Unitree", "ask or change the state of a Unitree robot's own controller"),
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
    """Return the text inside tyro's error box as one line, without its title and its reference to the help.

    On a terminal without UTF-8 the box has no frame; its text is indented by two spaces.
    """
    inner = [line.strip("│ ").strip() for line in box.splitlines() if line.startswith(("│", "  "))]
    joined = " ".join("|" if set(line) in ({"─"}, {"-"}) else line for line in inner if line).split("|")
    sections = [section.strip() for section in joined if section.strip() and "For full helptext" not in section]
    return "; ".join(sections) or " ".join(box.split())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0 success, 1 a check or gate did not pass or a training diverged, 2 invalid input, 3 the run
        failed, 130 interrupted, 141 the reader of standard output has ended.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows ? instead of °
    if threading.current_thread() is threading.main_thread():
        # A service manager stops a process with SIGTERM, a closed terminal with SIGHUP; handle both like Ctrl-C, so
        # that files are closed in order.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
    try:
        code = run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        report("\nwaldo: interrupted")
        return 130
    except SystemExit as stop:
        if not stop.code:
            raise
        report(f"waldo: error: a library ended the command ({stop.code})")
        return 3  # a library's 1 is not a check that did not pass
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_has_ended():
            return PIPE_CLOSED
        text, code = describe(error)
        report(f"waldo: error: {text}")
        return code


def run(args: Sequence[str]) -> int:
    """Run the command that the arguments name and return its exit code."""
    if not args or args[0] in ("-h", "--help", "help"):
        sys.stdout.write(help_text() + "\n")
        return 0
    if args[0] == "--version":
        from waldo import __version__

        sys.stdout.write(f"waldo {__version__}\n")
        return 0
    return parse(args[0], args[1:]).run()


def _reader_has_ended() -> bool:
    """Return whether nothing reads standard output any more, as in `waldo list | head`; if so, detach it."""
    with contextlib.suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        if any(events & select.POLLERR for _, events in poll.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return True
    return False


def report(text: str) -> None:
    """Write a line to standard error, if that is possible."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def describe(error: Exception) -> tuple[str, int]:
    """Return one line about an exception that ends a command, and the exit code."""
    if isinstance(error, NotADatasetError) and (known := _import_command(error.path)):
        return f"{error.path}: is not a dataset of waldo but {known}", error.exit_code
    if isinstance(error, WaldoError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", 3 if error.errno in DEVICE_ERRORS else 2
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        if extra := extra_of(package):
            return str(MissingExtraError(package, extra)), 2
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "no space left on the device of standard output or of a file that is written; free some space", 3
    return f"{type(error).__name__}: {_first_line(error)}; please report it with {_traceback_file(error)}", 3


def _import_command(path: str) -> str:
    """Return which other format a path has and the command that imports it; empty if it has none."""
    from waldo.datasets.formats.detect import import_command

    return "" if "://" in path else import_command(Path(path))


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or "no message"


def _traceback_file(error: Exception) -> str:
    """Write the traceback of an unexpected exception to a temporary file; return how to find it."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="waldo-traceback-", suffix=".txt", delete=False) as file:
            file.write(text)
    except OSError:
        return f"this traceback:\n{text}"
    return f"the traceback in {file.name}"
