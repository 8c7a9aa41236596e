"""An emulated Quest 3 in a page: iwer, injected before the page's own scripts."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

IWER = Path(__file__).parents[2] / "data" / "iwer" / "iwer.min.js.gz"
SHA256 = "23d8640949f19db4b1e70398b30e084e4aa555f3a81e4329da3fac1a70b39542"
"""Digest of build/iwer.min.js of the npm package iwer 2.5.0."""

INSTALL = """
window.device = new IWER.XRDevice(IWER.metaQuest3, { stereoEnabled: true });
window.device.installRuntime({ forceInstall: true });
window.device.position.set(0, 1.6, 0);
// The emulation calls every pose but that of the head estimated; here a test decides.
window.estimated = false;
Object.defineProperty(XRPose.prototype, "emulatedPosition", { get: () => window.estimated });
"""


def emulation() -> str:
    """Return the script that emulates a headset."""
    text = gzip.decompress(IWER.read_bytes())
    assert hashlib.sha256(text).hexdigest() == SHA256
    return text.decode() + INSTALL


class EmulatedHeadset:
    """The headset of an open page."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        """Control the headset of a browser's open page."""
        self.browser = browser

    def run(self, script: str, *values: Any) -> Any:
        """Run a script with `device`."""
        return self.browser.execute_script(f"const device = window.device; {script}", *values)

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds."""
        WebDriverWait(self.browser, 60, poll_frequency=0.02).until(lambda _: condition())

    def start(self, button: str = "vr") -> None:
        """Start a session by a button of the page."""
        self.wait(lambda: self.run("return !document.getElementById(arguments[0]).disabled", button))
        self.run("document.getElementById(arguments[0]).click()", button)
        self.wait(lambda: self.run("return device.activeSession !== undefined"))

    def head(self, position: Any, quaternion: Any = (0, 0, 0, 1)) -> None:
        """Move the head; the quaternion is (x, y, z, w)."""
        self.run(
            "device.position.set(...arguments[0]); device.quaternion.set(...arguments[1])",
            list(position),
            list(quaternion),
        )

    def controller(self, side: str, position: Any, quaternion: Any = (0, 0, 0, 1)) -> None:
        """Move a controller's grip, which is 4 cm behind its target ray in the emulation's profile."""
        self.run(
            "const one = device.controllers[arguments[0]];"
            "one.position.set(...arguments[1]); one.quaternion.set(...arguments[2])",
            side,
            list(position),
            list(quaternion),
        )

    def button(self, side: str, name: str, value: float) -> None:
        """Press a button: trigger, squeeze, thumbstick, a-button, b-button, x-button or y-button."""
        self.run("device.controllers[arguments[0]].updateButtonValue(arguments[1], arguments[2])", side, name, value)

    def connect(self, side: str, connected: bool) -> None:
        """Connect or disconnect the inputs of a side: a disconnected one is not tracked."""
        self.run(
            "for (const one of [device.controllers, device.hands]) one[arguments[0]].connected = arguments[1]",
            side,
            connected,
        )

    def pose(self, space: str) -> np.ndarray:
        """Return the pose (4, 4) that the emulation itself computes for a space, such as "left grip" or "viewer"."""
        side, _, _ = space.partition(" ")
        matrix = self.run(
            """
            const source = arguments[0] === "viewer" ? null
              : [...device.activeSession.inputSources].find((one) => one.handedness === arguments[0]);
            return new Promise((resolve) => device.activeSession.requestReferenceSpace("local-floor").then((floor) => {
              device.activeSession.requestAnimationFrame((_, frame) => {
                const pose = source ? frame.getPose(source.gripSpace, floor) : frame.getViewerPose(floor);
                resolve([...pose.transform.matrix]);
              });
            }));
            """,
            side,
        )
        return np.array(matrix).reshape(4, 4).T
