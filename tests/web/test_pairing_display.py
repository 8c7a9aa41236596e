"""PINs in the terminal."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from waldo import console
from waldo.web import pairing_display as module
from waldo.web.pairing import Pairing
from waldo.web.pairing_display import BLOCKS, PairingDisplay, code
from waldo.web.roles import Role, Visitor
from waldo.web.security import Security

URL = "https://192.168.1.7:8652/"


def read(lines: list[str]) -> str:
    """Return the text of a QR code of half blocks."""
    modules = {block: pair for pair, block in BLOCKS.items()}
    rows = [[modules[c][half] for c in line] for line in lines for half in (0, 1)]
    image = np.where(np.array(rows), 0, 255).astype(np.uint8)
    image = np.pad(np.kron(image, np.ones((8, 8), np.uint8)), 40, constant_values=255)
    return str(cv2.QRCodeDetectorAruco().detectAndDecode(image)[0])


def test_the_code_is_read_as_the_address_with_the_pin_in_its_fragment() -> None:
    text = f"{URL}#pin=12345678"
    assert read(code(text).plain.split("\n")) == text


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "shows_pins", lambda: True)


def test_a_key_shows_a_pin_that_pairs(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    console.err.cache_clear()
    security = Security(loopback=False, pairing=Pairing())
    display = PairingDisplay(security, URL)
    assert display.press("w")
    printed = capsys.readouterr().err
    console.err.cache_clear()
    found = re.search(r"PIN to watch: (\d{4}) (\d{4})", printed)
    assert found
    assert security.pairing is not None
    assert security.pairing.redeem(found[1] + found[2], "10.0.0.1") is Role.WATCH
    assert not display.press("x")


def test_a_fingerprint_and_a_name_are_printed_as_they_are(
    terminal: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console.err.cache_clear()
    security = Security(loopback=False, pairing=Pairing())
    PairingDisplay(security, URL)
    security.on_renewed("12:AB:SA:0A")  # rich knows emoji of these names
    security.on_paired(Visitor(role=Role.WATCH, address="10.0.0.5", name="[red]:smile:"))
    printed = capsys.readouterr().err
    console.err.cache_clear()
    assert "SHA-256 12:AB:SA:0A" in printed
    assert "paired: [red]:smile: (10.0.0.5), to watch" in printed


def test_without_a_terminal_no_pin_is_made(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "shows_pins", lambda: False)
    security = Security(loopback=False, pairing=Pairing())
    display = PairingDisplay(security, URL)
    assert not display.press("w")
    display.show(Role.OPERATE)
    assert security.pairing is not None
    assert not security.pairing.is_offered()
    assert capsys.readouterr().err == ""


def test_a_server_that_pairs_no_browsers_has_no_keys(terminal: None) -> None:
    assert not PairingDisplay(Security(), URL).press("p")
