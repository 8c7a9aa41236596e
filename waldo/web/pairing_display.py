"""The PIN of a server in the terminal, with a code that a phone or headset scans."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from waldo import console
from waldo.web.roles import Role

if TYPE_CHECKING:
    from rich.text import Text

    from waldo.web.security import Security

KEYS = {"p": Role.OPERATE, "w": Role.WATCH, "a": Role.ADMINISTER}
"""Key of the terminal -> role of the PIN that it shows."""
USAGE = "p: pair a browser (w: to watch, a: to administer)"
"""The keys, for the operator."""
BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
"""Upper and lower module of a code, dark or not -> the character for both."""


def shows_pins() -> bool:
    """Return whether there is a terminal that can show a PIN; a PIN is never written to a file or log."""
    return sys.stderr is not None and sys.stderr.isatty()


class PairingDisplay:
    """Shows PINs. It does nothing for a server that pairs no browsers."""

    def __init__(self, security: Security, url: str) -> None:
        """Initialize; `url` is the address of the server."""
        self._security, self._url = security, url
        security.on_paired = lambda visitor: self._print(f"paired: {visitor.label}, to {visitor.role.word}")
        security.on_renewed = lambda fingerprint: self._print(f"new certificate; SHA-256 {fingerprint}")

    @property
    def is_active(self) -> bool:
        """Whether browsers are paired, and there is a terminal that can show a PIN."""
        return self._security.pairing is not None and shows_pins()

    def press(self, key: str) -> bool:
        """Show a new PIN for a key; return whether the key has this function."""
        if not self.is_active or key not in KEYS:
            return False
        self.show(KEYS[key])
        return True

    def show(self, role: Role) -> None:
        """Show a new PIN for a role; the role's former one is void."""
        from waldo.web.pairing import VALID_S

        if self._security.pairing is None or not self.is_active:
            return
        pin = self._security.pairing.offer(role)
        text = f"PIN to {role.word}: {pin[:4]} {pin[4:]}   (once, within {VALID_S / 60:.0f} min; {self._url})"
        if console.err().encoding.lower().startswith("utf"):
            # In a fragment: browsers do not send it, so it is in no log of a server or proxy.
            console.err().print(code(f"{self._url}#pin={pin}"))
        self._print(text)

    def show_certificate(self) -> None:
        """Show the fingerprint of the server's certificate, with which a browser's warning is compared."""
        if self._security.certificate is not None:
            self._print(f"certificate: SHA-256 {self._security.certificate.fingerprint()}")

    def _print(self, text: str) -> None:
        # Without emoji: rich would replace ":AB:" of a fingerprint by one.
        console.err().print(text, markup=False, emoji=False)


def pair_by_lines(display: PairingDisplay, role: Role = Role.WATCH) -> None:
    """Show a PIN, and then one for each line of the terminal: an empty line for the same role, or a key of `KEYS`.

    For programs that do not read single keys. The lines are read on a thread that ends with the process.
    """
    if not display.is_active or not sys.stdin.isatty():
        return

    def read() -> None:
        for line in sys.stdin:
            display.show(KEYS.get(line.strip(), role))

    keys = ", ".join(f"{key} enter: to {one.word}" for key, one in KEYS.items() if one is not role)
    console.err().print(f"enter: pair a browser to {role.word} ({keys})", markup=False)
    display.show(role)
    threading.Thread(target=read, name="pairing", daemon=True).start()


def code(text: str) -> Text:
    """Return a QR code, dark on light: two of its rows a line."""
    import segno
    from rich.text import Text

    rows = [[bool(module) for module in row] for row in segno.make(text, error="l", micro=False).matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    lines = ["".join(BLOCKS[pair] for pair in zip(*rows[i : i + 2], strict=True)) for i in range(0, len(rows), 2)]
    return Text("\n").join(Text(line, "black on white") for line in lines)
