"""waldo: one open stack for robot teleoperation data and VLA training, in which motor heat is data."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("waldo")
except PackageNotFoundError:  # run from a bare checkout
    __version__ = "0.0.0"
