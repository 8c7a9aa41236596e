"""`waldo operate`: pairing by the terminal's PIN, and its options. A session is in test_operate_session.py."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import httpx
import pytest

from tests.collect.console.process_bench import WALDO
from tests.terminal import Terminal
from waldo.cli.main import main
from waldo.web.tls.certificate import ServerCertificate

pytestmark = [pytest.mark.usefixtures("ros_domain"), pytest.mark.timeout(600)]


def test_a_browser_is_paired_by_the_pin_of_the_terminal(tmp_path: Path) -> None:
    """On the network: the PIN and its code are on the screen, and in no file."""
    command = [*WALDO, "operate", str(tmp_path / "set"), "--port", "0", "--host", "0.0.0.0", "--audit-log"]
    environment = {"XDG_DATA_HOME": str(tmp_path / "data")}
    with Terminal([*command, str(tmp_path / "audit.log")], environment) as terminal:
        terminal.wait_for_printed("PIN to operate: ")
        port = re.search(r"https://\S+:(\d+)/", terminal.printed)
        pin = re.search(r"PIN to operate: (\d{4} \d{4})", terminal.printed)
        assert port
        assert pin
        certificate = tmp_path / "data" / "waldo" / "web" / "server.pem"
        fingerprint = ServerCertificate(certificate=certificate).fingerprint()
        assert f"certificate: SHA-256 {fingerprint}" in terminal.printed
        tls = ssl.create_default_context(cafile=certificate)
        with httpx.Client(base_url=f"https://localhost:{port[1]}", verify=tls, timeout=60) as client:
            assert client.post("/pair", data={"pin": pin[1], "name": "Quest"}).status_code == 303
            terminal.wait_for_printed("paired: Quest (127.0.0.1), to operate")
            assert client.post("/pair", data={"pin": pin[1], "name": "Quest"}).status_code == 401
            # Another one, when the operator asks for it. The recorder reads keys once it runs.
            terminal.wait_for("enter: start")
            terminal.press("w")
            terminal.wait_for_printed("PIN to watch: ")
        terminal.press("\x1b")
        assert terminal.exit_code() == 0
    files = [path.read_text("utf-8", "replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(pin[1].replace(" ", "") in one or pin[1] in one for one in files)
    assert '"event": "paired"' in (tmp_path / "audit.log").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 requires --token; pass --token SECRET, start it in a terminal"),
        (["--token", ""], "--token is '', expected one character or more"),
        (["--max-request-age-s", "0"], "--max-request-age-s is 0.0, expected a number of seconds above 0"),
        (["--key", "my.key"], "--key requires --certificate"),
        (["--port", "70000"], "--port is 70000, expected 0 to 65535"),
    ],
)
def test_options_are_checked(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WALDO_CONSOLE_TOKEN", raising=False)
    assert main(["operate", "set", *words]) == 2
    assert message in capsys.readouterr().err
