"""The errors that waldo raises on purpose.

An exception takes facts and builds its message: what was found, what was expected, what to do.
The command line prints the message as one line and exits with code 2.

* WaldoError
  x UnknownNameError   a robot, task, policy, key ... that nobody has heard of
  x FileError          a file or folder that cannot be used as it is
  x ConfigError        a value outside what is possible
  x UsageError         options that a command does not understand
  x MissingExtraError  a command whose packages are not installed
  x HardwareError      a device that is absent, refuses or has stopped answering
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WaldoError(Exception):
    """Root of every error that is waldo's own."""


class UnknownNameError(WaldoError):
    """A name that is not among the known ones; says which one was probably meant."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        """Take what sort of thing was named, the name found and the names that exist."""
        self.kind, self.name, self.known = kind, name, sorted(known)
        close = difflib.get_close_matches(name, self.known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        super().__init__(f"unknown {kind} {name!r}{hint} (known: {', '.join(self.known) or 'none'})")


class FileError(WaldoError):
    """A file or folder that is missing, unreadable, damaged or not what it should be."""

    def __init__(self, path: object, found: str, do: str = "") -> None:
        """Take the path or address, what was found there and what the user can do about it."""
        self.path = str(path)
        super().__init__(f"{path}: {found}" + (f"; {do}" if do else ""))


class ConfigError(WaldoError):
    """A setting whose value is not possible."""

    def __init__(self, key: str, found: object, expected: str, do: str = "") -> None:
        """Take the setting's name, the value found, what was expected and what to do."""
        self.key = key
        super().__init__(f"{key} is {found!r}, expected {expected}" + (f"; {do}" if do else ""))


class UsageError(WaldoError):
    """Options that a command does not understand."""

    def __init__(self, command: str, found: str) -> None:
        """Take the command and what is wrong with its options."""
        super().__init__(f"{found}; see: waldo {command} --help")


class MissingExtraError(WaldoError):
    """A package is not installed that comes with one of waldo's extras."""

    def __init__(self, package: str, extra: str) -> None:
        """Take the missing package and the extra that brings it."""
        do = f"uv sync --inexact --extra {extra}"
        super().__init__(f"the package {package!r} is not installed; install it with: {do}")


class HardwareError(WaldoError):
    """A robot, servo or camera that cannot be reached or answers wrongly."""
