"""The audit log."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from waldo.errors import FileError
from waldo.web import audit as module
from waldo.web.audit import FILES, MAX_DETAIL, REFUSALS_BURST, Audit
from waldo.web.roles import Role, Visitor

ADA = Visitor(role=Role.OPERATE, address="10.0.0.5", name="Quest of Ada", browser="ab12")


def entries(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_entry_states_who_did_it(tmp_path: Path) -> None:
    path = tmp_path / "web" / "audit.log"
    audit = Audit(path, clock=lambda: 1_800_000_000.5)
    audit.record("request", ADA, request="start")
    audit.refuse("wrong PIN", address="10.0.0.6", path="/pair")
    audit.close()
    assert entries(path) == [
        {
            "time": "2027-01-15T08:00:00.500+00:00",
            "event": "request",
            "address": "10.0.0.5",
            "name": "Quest of Ada",
            "role": "operate",
            "browser": "ab12",
            "request": "start",
        },
        {
            "time": "2027-01-15T08:00:00.500+00:00",
            "event": "refused",
            "address": "10.0.0.6",
            "path": "/pair",
            "reason": "wrong PIN",
        },
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_continued_by_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for _ in range(2):
        audit = Audit(path)
        audit.record("opened", ADA)
        audit.close()
    assert len(entries(path)) == 2


def test_text_of_a_visitor_stays_in_its_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    audit = Audit(path)
    audit.refuse('x"\n{"event": "paired"}' + "y" * 10_000, visitor=ADA, path="/session")
    audit.close()
    (entry,) = entries(path)
    assert entry["event"] == "refused"
    assert len(str(entry["reason"])) == MAX_DETAIL


def test_it_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 2000)
    path = tmp_path / "audit.log"
    audit = Audit(path)
    for number in range(200):
        audit.record("request", ADA, number=number)
    audit.close()
    assert entries(path)[-1]["number"] == 199
    files = sorted(one.name for one in tmp_path.iterdir())
    assert len(files) == FILES + 1
    assert all(one.stat().st_size <= 2000 and stat.S_IMODE(one.stat().st_mode) == 0o600 for one in tmp_path.iterdir())


def test_a_flood_of_refusals_is_counted_and_does_not_rotate_the_log_away(tmp_path: Path) -> None:
    now, path = [0.0], tmp_path / "audit.log"
    audit = Audit(path, clock=lambda: now[0])
    audit.record("paired", ADA)
    for _ in range(REFUSALS_BURST + 500):
        audit.refuse("wrong PIN", address="10.0.0.6")
    audit.record("opened", ADA)
    audit.close()
    found = entries(path)
    assert len(found) == REFUSALS_BURST + 2
    assert found[-1]["omitted"] == 500


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(FileError, match=r"cannot be written .*; pass --audit-log PATH"):
        Audit(tmp_path / "log")
