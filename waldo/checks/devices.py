"""Connected cameras and serial ports, and whether this user may open them."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from waldo.checks.finding import Finding, absent, fail, ok


def judge_cameras(cameras: Mapping[str, tuple[str, bool]]) -> Finding:
    """Judge the cameras (path -> name and whether it may be opened)."""
    if not cameras:
        return absent("cameras", "no /dev/video*")
    closed = [path for path, (_, allowed) in cameras.items() if not allowed]
    if closed:
        return fail(
            "cameras",
            f"{', '.join(closed)} cannot be opened by this user",
            "sudo usermod -aG video $USER, then log in again",
        )
    return ok("cameras", ", ".join(f"{path} {name}".strip() for path, (name, _) in cameras.items()))


def judge_serial(ports: Mapping[str, bool], names: Sequence[str]) -> Finding:
    """Judge the serial ports (path -> whether it may be opened) and their stable names in /dev/serial/by-id."""
    if not ports:
        return absent("serial ports", "no /dev/ttyACM* or /dev/ttyUSB*")
    closed = [path for path, allowed in ports.items() if not allowed]
    if closed:
        return fail(
            "serial ports",
            f"{', '.join(closed)} cannot be opened by this user",
            "sudo usermod -aG dialout $USER, then log in again",
        )
    return ok("serial ports", ", ".join(names or ports))


def may_open(path: str) -> bool:
    """Return whether this user may read and write a device."""
    return os.access(path, os.R_OK | os.W_OK)


def list_cameras(dev: Path = Path("/dev"), sysfs: Path = Path("/sys/class/video4linux")) -> dict[str, tuple[str, bool]]:
    """Return the cameras. A camera's additional nodes, which deliver metadata instead of images, are skipped."""
    found: dict[str, tuple[str, bool]] = {}
    for path in sorted(glob.glob(str(dev / "video*")), key=lambda path: (len(path), path)):
        about = sysfs / Path(path).name
        if _read(about / "index") in ("", "0"):
            found[path] = (_read(about / "name"), may_open(path))
    return found


def check_devices() -> list[Finding]:
    """List cameras and serial ports."""
    ports = sorted([*glob.glob("/dev/ttyACM*"), *glob.glob("/dev/ttyUSB*")])
    names = sorted(glob.glob("/dev/serial/by-id/*"))
    return [judge_cameras(list_cameras()), judge_serial({port: may_open(port) for port in ports}, names)]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
