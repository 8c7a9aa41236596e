"""The options of a server, and the access rules that follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from waldo.errors import FileError, InvalidValueError, MissingOptionError
from waldo.web.options import WebOptions
from waldo.web.tls.certificate import create_pem


class Options(WebOptions):
    APPLICATION = "test"
    TOKEN_VARIABLE = "WALDO_TEST_TOKEN"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("WALDO_TEST_TOKEN", raising=False)
    return tmp_path / "waldo" / "web"


def test_the_loopback_needs_neither_password_nor_files(folder: Path) -> None:
    found = Options().security(8652)
    assert found.is_open
    assert found.certificate is None
    assert found.pairing is None
    assert not folder.exists()


@pytest.mark.parametrize("token", [None, "s3cret"])
def test_any_other_address_is_encrypted_and_closed(folder: Path, token: str | None) -> None:
    found = Options(host="0.0.0.0", token=token, server_name=("robots.example",)).security(8652)
    assert not found.is_open
    assert found.certificate is not None
    assert found.pairing is not None
    assert found.accepts_host("robots.example")
    assert not found.accepts_host("evil.example")
    found.audit.close()
    assert sorted(one.name for one in folder.iterdir()) == ["server.pem", "test-audit.log"]


def test_a_token_closes_the_loopback_too() -> None:
    found = Options(token="s3cret").security(8652)
    assert not found.is_open
    assert found.certificate is None


def test_ones_own_certificate_wins(tmp_path: Path, folder: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_bytes(create_pem(["robots.example"], 1_800_000_000.0))
    found = Options(host="0.0.0.0", certificate=own).security(8652)
    assert found.certificate is not None
    assert found.certificate.certificate == own
    found.audit.close()
    assert not (folder / "server.pem").exists()
    with pytest.raises(FileError, match="cannot be used for TLS"):
        Options(certificate=tmp_path / "none.pem").security(8652)


def test_options_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidValueError, match="--port is -1"):
        Options(port=-1)
    with pytest.raises(MissingOptionError, match="--key requires --certificate"):
        Options(key=Path("a.key"))
    with pytest.raises(MissingOptionError, match=r"--host 0\.0\.0\.0 requires --token"):
        Options(host="0.0.0.0").require_login(shows_pins=False)
    monkeypatch.setenv("WALDO_TEST_TOKEN", "from the environment")
    Options(host="0.0.0.0").require_login(shows_pins=False)
    assert Options().secret == "from the environment"
