"""Paired browsers on disk."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from waldo.errors import FileError
from waldo.web import paired as module
from waldo.web.paired import IDLE_S, MAX_NAME, SAVE_EVERY_S, PairedBrowsers
from waldo.web.roles import Role


def test_a_browser_stays_paired_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "web" / "browsers.json"
    made, secret = PairedBrowsers(path).add("Quest of Ada", Role.OPERATE)
    found = PairedBrowsers(path).find(secret)
    assert found is not None
    assert (found.browser, found.name, found.role) == (made.browser, "Quest of Ada", Role.OPERATE)
    assert PairedBrowsers(path).find(secret + "x") is None
    assert PairedBrowsers(path).find("") is None


def test_the_file_contains_no_secret_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "browsers.json"
    _, secret = PairedBrowsers(path).add("Quest", Role.WATCH)
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    digest = json.loads(path.read_text())["browsers"][0]["sha256"]
    assert PairedBrowsers(path).find(digest) is None


def test_a_revoked_browser_is_unknown_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "browsers.json"
    browsers = PairedBrowsers(path)
    made, secret = browsers.add("Quest", Role.WATCH)
    other, _ = browsers.add("phone", Role.OPERATE)
    assert browsers.revoke(made.browser) == made
    assert browsers.revoke(made.browser) is None
    assert browsers.find(secret) is None
    assert PairedBrowsers(path).find(secret) is None
    assert [one.browser for one in PairedBrowsers(path).all()] == [other.browser]


def test_a_browser_that_is_not_used_is_forgotten(tmp_path: Path) -> None:
    now = [1000.0]
    browsers = PairedBrowsers(tmp_path / "browsers.json", clock=lambda: now[0])
    _, secret = browsers.add("Quest", Role.WATCH)
    now[0] += IDLE_S
    assert browsers.find(secret) is not None
    now[0] += IDLE_S
    assert PairedBrowsers(tmp_path / "browsers.json", clock=lambda: now[0]).find(secret) is not None
    now[0] += IDLE_S + 1
    assert browsers.find(secret) is None


def test_the_last_request_is_saved_from_time_to_time(tmp_path: Path) -> None:
    now, path = [1000.0], tmp_path / "browsers.json"
    browsers = PairedBrowsers(path, clock=lambda: now[0])
    _, secret = browsers.add("Quest", Role.WATCH)
    now[0] += SAVE_EVERY_S / 2
    browsers.find(secret)
    assert json.loads(path.read_text())["browsers"][0]["seen_s"] == 1000.0
    now[0] += SAVE_EVERY_S / 2
    browsers.find(secret)
    assert json.loads(path.read_text())["browsers"][0]["seen_s"] == 1000.0 + SAVE_EVERY_S


def test_the_number_of_browsers_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BROWSERS", 3)
    now = [0.0]
    browsers = PairedBrowsers(clock=lambda: now[0])
    secrets = []
    for number in range(4):
        now[0] += 1
        secrets.append(browsers.add(f"{number}", Role.WATCH)[1])
    assert [browsers.find(one) is not None for one in secrets] == [False, True, True, True]


def test_names_are_one_short_line() -> None:
    made, _ = PairedBrowsers().add("a\nb\t\x1b[31mc" + "x" * 500, Role.WATCH)
    assert made.name.startswith("a b [31mcxx")
    assert len(made.name) == MAX_NAME
    assert PairedBrowsers().add(" \n", Role.WATCH)[0].name == "browser"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": "waldo-paired-browsers", "schema_version": 2, "browsers": []}',
        '{"format": "waldo-paired-browsers", "schema_version": 1, "browsers": [{}]}',
        '{"format": "waldo-paired-browsers", "schema_version": 1, "browsers": [{"role": "root", "sha256": "00", '
        '"created_s": 1, "seen_s": 1, "browser": "1", "name": "x"}]}',
    ],
)
def test_a_damaged_file_lets_no_browser_in(tmp_path: Path, content: str) -> None:
    path = tmp_path / "browsers.json"
    path.write_text(content)
    with pytest.raises(FileError):
        PairedBrowsers(path)


def test_a_paired_browser_is_known_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must be able to stop the robot; only the time of its last request is not saved."""
    now_s = [1000.0]
    browsers = PairedBrowsers(tmp_path / "browsers.json", clock=lambda: now_s[0])
    made, secret = browsers.add("Quest", Role.OPERATE)
    tried: list[Path] = []

    def fail(path: Path, *_: object, **__: object) -> None:
        tried.append(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomic", fail)
    now_s[0] += SAVE_EVERY_S + 1
    found = browsers.find(secret)
    assert found is not None
    assert found.browser == made.browser
    assert tried
