"""The `waldo` command: finds the subcommand, reads its options, runs it.

A subcommand is a frozen keyword-only dataclass with `run() -> int`; its fields are the options. It is imported
when it is called, so `waldo --help` loads nothing. `--config FILE.yaml` gives the same fields from a file.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Protocol, cast

from waldo.errors import MissingExtraError, UnknownNameError, UsageError, WaldoError


class Command(Protocol):
    """What every subcommand's dataclass offers."""

    def run(self) -> int:
        """Do the work and return the exit code."""
        ...


COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "waldo.cli.demo:Demo",
        "the whole of waldo on this machine: teleoperate, record, export, train, evaluate",
    ),
    "robot": ("waldo.cli.robot:RobotCommand", "run a robot: a simulated twin or real hardware"),
    "teleop": (
        "waldo.cli.collect:Teleop",
        "drive a robot with the keyboard, a gamepad, a leader arm or a scripted operator",
    ),
    "record": ("waldo.cli.collect:Record", "record episodes from a running robot"),
    "info": ("waldo.cli.dataset:Info", "say what a dataset holds"),
    "check": ("waldo.cli.dataset:Check", "check a dataset: rates, gaps, loss, frozen cameras, limits, heat"),
    "recover": ("waldo.cli.dataset:Recover", "close the episodes that a crash cut off"),
    "view": ("waldo.cli.view:View", "look at an episode: in Rerun, or as a page for any browser"),
    "latency": ("waldo.cli.latency:LatencyCommand", "find out how late each camera's frames are stamped"),
    "list": ("waldo.cli.edit:List", "list episodes, or those for which filters hold"),
    "delete": ("waldo.cli.edit:Delete", "leave episodes out; restore brings them back"),
    "restore": ("waldo.cli.edit:Restore", "bring deleted episodes back"),
    "relabel": ("waldo.cli.edit:Relabel", "give episodes another instruction or outcome"),
    "filter": ("waldo.cli.edit:Filter", "make a new dataset of some episodes, by links"),
    "merge": ("waldo.cli.edit:Merge", "make one dataset of several, by links"),
    "split": ("waldo.cli.edit:Split", "split a dataset into several, by links"),
    "push": ("waldo.cli.transfer:Push", "copy a dataset to an object store"),
    "pull": ("waldo.cli.transfer:Pull", "copy a dataset from an object store"),
    "gc": ("waldo.cli.edit:Collect", "remove deleted episodes for good"),
    "import": ("waldo.cli.formats:Import", "import LeRobot, replay buffers, UMI, robomimic, ALOHA, bags"),
    "export": ("waldo.cli.dataset:Export", "export a dataset to LeRobot v3.0, replay buffers, UMI, ROS 2 bags"),
    "cache": ("waldo.cli.cache:Cache", "decode frames once for training, or check such a cache"),
    "train": ("waldo.cli.train:Train", "train a LeRobot policy on a waldo or LeRobot dataset"),
    "plan": ("waldo.cli.plan:Plan", "break an instruction into subtasks"),
    "eval": ("waldo.cli.eval:Evaluate", "evaluate a policy in simulation, with motor heat"),
    "fleet": ("waldo.cli.fleet:Fleet", "serve the dashboard of the robots on this network"),
    "identify": ("waldo.cli.identify:Identify", "fit motors' thermal constants to recorded episodes"),
    "calibrate": ("waldo.cli.calibrate:Calibrate", "calibrate an arm of serial servos, or show how it is"),
    "emulate": ("waldo.cli.emulate:Emulate", "emulate a robot's motors for its driver: a serial port, CAN, DDS"),
    "motors": ("waldo.cli.robot:Motors", "print the motor library with its sources"),
    "doctor": ("waldo.cli.doctor:Doctor", "check this machine and say how to mend what is wrong"),
}
"""Subcommand -> (where its class lives, one line of help)."""

EXTRA_OF = {
    "rclpy": "collect",
    "sensor_msgs": "collect",
    "std_msgs": "collect",
    "std_srvs": "collect",
    "diagnostic_msgs": "collect",
    "sshkeyboard": "collect",
    "pygame": "collect",
    "mujoco": "sim",
    "mink": "sim",
    "gymnasium": "sim",
    "matplotlib": "sim",
    "rerun": "view",
    "pyarrow": "formats",
    "h5py": "formats",
    "imagecodecs": "formats",
    "rosbags": "formats",
    "obstore": "cloud",
    "serial": "serial",
    "scservo_sdk": "serial",
    "dynamixel_sdk": "serial",
    "scipy": "heat",
    "can": "can",
    "cyclonedds": "unitree",
    "ray": "ray",
    "torch": "train",
    "lerobot": "train",
    "transformers": "train",
    "xgrammar": "train",
    "openai": "train",
    "uvicorn": "fleet",
    "starlette": "fleet",
    "prometheus_client": "fleet",
}
"""Top-level module -> the extra that installs it."""


def help_text() -> str:
    """Return the text of `waldo --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: waldo COMMAND [options]",
            "",
            "One open stack for robot teleoperation data and VLA training, in which motor heat is data.",
            "",
            "commands:",
            *lines,
            "",
            "`waldo COMMAND --help` lists a command's options; `--config FILE.yaml` reads them from a file.",
        ]
    )


def parse(name: str, args: Sequence[str]) -> Command:
    """Return the subcommand `name` filled in from its arguments (and its YAML file, if one is named)."""
    if name not in COMMANDS:
        raise UnknownNameError("command", name, COMMANDS)
    module, _, attribute = COMMANDS[name][0].partition(":")
    command = cast("type[Command]", getattr(importlib.import_module(module), attribute))
    import tyro

    from waldo.cli.config import expand_config

    words = expand_config(command, args)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(command, prog=f"waldo {name}", args=words, config=(tyro.conf.OmitArgPrefixes,))
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(name, one_line(said.getvalue())) from None


def one_line(box: str) -> str:
    """Return what tyro says inside its box as one line, without its pointer to the help."""
    inner = [line.strip("│ ").strip() for line in box.splitlines() if line.startswith("│")]
    sections = " ".join("|" if set(line) == {"─"} else line for line in inner if line).split("|")
    told = [section.strip() for section in sections if section.strip() and "For full helptext" not in section]
    return "; ".join(told) or " ".join(box.split())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 a check failed, 2 bad input, 130 interrupted."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        sys.stdout.write(help_text() + "\n")
        return 0
    if args[0] == "--version":
        from waldo import __version__

        sys.stdout.write(f"waldo {__version__}\n")
        return 0
    if threading.current_thread() is threading.main_thread():
        # A service manager's stop is a Ctrl-C: what is being done is closed in order.
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
        if package not in EXTRA_OF:
            raise
        sys.stderr.write(f"waldo: error: {MissingExtraError(package, EXTRA_OF[package])}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nwaldo: interrupted\n")
        return 130
