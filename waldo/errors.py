"""The exceptions that waldo raises.

An exception takes facts and builds its message: what was found, what was expected, what to do. The command line prints
the message on one line and exits with the exception's exit code: 2 for input that cannot be used, 3 for a run that
failed. Code 1 is that of a check that did not pass.

* WaldoError
  x UnknownNameError           a robot, task, policy or key that does not exist
  x FileError                  a file or folder that cannot be used as it is
    x NotADatasetError         a file or folder that is not a dataset of waldo
  x ConfigError                options that cannot be used together or as given
    x InvalidValueError        a value outside its range or of the wrong kind
    x ConflictingOptionsError  two options that exclude each other
    x UnsupportedOptionError   an option that has no effect in this combination
    x MissingOptionError       an option that requires another one
    x NoFilterError            a change without a filter, which would affect everything
    x NoMatchError             filters that match nothing
  x UsageError                 options that a command does not have
  x MissingExtraError          a command whose packages are not installed
  x HardwareError              a device that is absent, refuses a command or has stopped responding
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar, Self


class WaldoError(Exception):
    """Base class of all exceptions that waldo raises."""

    exit_code: ClassVar[int] = 2
    """Exit code of a command that ends with this exception."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to unpickle the exception: subclasses build their message from facts that are not stored."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[WaldoError], args: tuple[Any, ...], attributes: dict[str, Any]) -> WaldoError:
    """Return an exception that was raised in another process."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class UnknownNameError(WaldoError):
    """A name that is not among the known ones; the message suggests the closest match."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        """Build the message from the kind of name, the name that was given and the known names."""
        self.kind, self.name, self.known = kind, name, sorted(known)
        close = difflib.get_close_matches(name, self.known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        super().__init__(f"unknown {kind} {name!r}{hint} (known: {', '.join(self.known) or 'none'})")


class FileError(WaldoError):
    """A file or folder that is missing, unreadable, damaged or of another kind than expected."""

    def __init__(self, path: object, found: str, do: str = "") -> None:
        """Build the message from the path or address, what was found there and what the user can do about it."""
        self.path, self.found = str(path), found
        super().__init__(f"{path}: {found}" + (f"; {do}" if do else ""))


class NotADatasetError(FileError):
    """A file or folder that is not a dataset of waldo; commands check whether it can be imported."""


class ConfigError(WaldoError):
    """Options that cannot be used as given; base class of the errors below."""


class InvalidValueError(ConfigError):
    """A value outside its range or of the wrong kind."""

    def __init__(self, key: str, found: object, expected: str, do: str = "") -> None:
        """Build the message from the option's name, the value found, the expected values and what to do."""
        self.key, self._rest = key, f"is {found!r}, expected {expected}" + (f"; {do}" if do else "")
        super().__init__(f"{key} {self._rest}")

    def at(self, place: str) -> Self:
        """Return this error with the place of the value, such as "in plan.yaml line 3"."""
        self.args = (f"{self.key} {place} {self._rest}",)
        return self


class ConflictingOptionsError(ConfigError):
    """Two options that exclude each other."""

    def __init__(self, first: str, second: str, do: str = "") -> None:
        """Build the message from the two options and what to do."""
        super().__init__(f"{first} and {second} cannot be combined" + (f"; {do}" if do else ""))


class UnsupportedOptionError(ConfigError):
    """An option that is not supported in combination with another setting."""

    def __init__(self, option: str, context: str, supported: Iterable[str] = (), do: str = "") -> None:
        """Build the message from the option, the setting it was combined with and the settings that support it."""
        listed = ", ".join(supported)
        text = f"{option} is not supported with {context}" + (f" (supported: {listed})" if listed else "")
        super().__init__(text + (f"; {do}" if do else ""))


class MissingOptionError(ConfigError):
    """An option that requires another one."""

    def __init__(self, option: str, required: str, do: str = "") -> None:
        """Build the message from the option, the option that it requires and what to do."""
        super().__init__(f"{option} requires {required}" + (f"; {do}" if do else ""))


class NoFilterError(ConfigError):
    """A change that would affect everything because no filter was given."""

    def __init__(self, change: str) -> None:
        """Build the message from the change that would be made, such as "change every episode"."""
        super().__init__(f"no filter given: this would {change}; pass a filter or --all")


class NoMatchError(ConfigError):
    """Filters that match nothing."""

    def __init__(self, kind: str, total: int, do: str = "") -> None:
        """Build the message from the kind of item, such as "episode", how many there are and what to do."""
        text = f"no {kind} matches the filters ({count(total, kind)} in total)"
        super().__init__(text + (f"; {do}" if do else ""))


class UsageError(WaldoError):
    """Options that a command does not have."""

    def __init__(self, command: str, found: str) -> None:
        """Build the message from the command and what is wrong with its options."""
        super().__init__(f"{found}; see: waldo {command} --help")


class MissingExtraError(WaldoError):
    """A package that is not installed and comes with one of waldo's extras."""

    def __init__(self, package: str, extra: str) -> None:
        """Build the message from the missing package and the extra that installs it."""
        do = f"uv sync --inexact --extra {extra}"
        super().__init__(f"the package {package!r} is not installed; install it with: {do}")


class ImageError(WaldoError, ValueError):
    """An image that cannot be decoded, or has another size than its stream."""


class HardwareError(WaldoError):
    """A robot, servo or camera that cannot be reached or responds incorrectly."""

    exit_code = 3


def count(number: int, noun: str) -> str:
    """Return a count with its noun: "1 episode", "2 episodes"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
