import errno
import os
import shutil
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waldo.datasets.dataset import Dataset
from waldo.datasets.recording.journal import HEADER, Journal, JournalReader, Kind
from waldo.datasets.streams import Field, ScalarStream
from waldo.errors import FileError

STREAM = ScalarStream(name="s", rate_hz=10.0, fields=(Field("x", "m", ("a", "b")),))
OPENING = {"streams": [STREAM.to_dict()], "attributes": {"robot": "tiny", "task": "t"}}
ROWS = 12


def write_journal(path, closing=True):
    journal = Journal(path, OPENING)
    for k in range(ROWS):
        journal.append(Kind.ROW, header_ns=k, receipt_ns=k + 1, sequence=k + 1, payload=bytes([k]) * 8)
    if closing:
        journal.append(Kind.CLOSE, payload=b'{"outcome": "success", "reason": "operator"}')
    journal.close()
    return path


def test_written_records_are_read_back(tmp_path):
    with JournalReader(write_journal(tmp_path / "j")) as reader:
        scan = reader.scan
        assert scan.opening == OPENING
        assert scan.closing == {"outcome": "success", "reason": "operator"}
        assert [r.sequence for r in scan.records[0]] == list(range(1, ROWS + 1))
        assert [reader.payload(r) for r in scan.records[0]] == [bytes([k]) * 8 for k in range(ROWS)]
        assert (scan.lost_bytes, scan.continues) == (0, False)


def test_existing_journal_is_not_overwritten(tmp_path):
    write_journal(tmp_path / "j")
    with pytest.raises(FileExistsError):
        Journal(tmp_path / "j", OPENING)


def test_records_before_a_torn_end_are_read(tmp_path):
    path = write_journal(tmp_path / "j", closing=False)
    os.truncate(path, path.stat().st_size - 3)
    with JournalReader(path) as reader:
        assert len(reader.scan.records[0]) == ROWS - 1
        assert reader.scan.lost_bytes == HEADER.size + 8 - 3
        assert not reader.scan.continues


def test_damage_in_the_middle_is_distinguished_from_a_torn_end(tmp_path):
    path = write_journal(tmp_path / "j")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with JournalReader(path) as reader:
        assert reader.scan.continues


def test_a_full_disk_leaves_whole_records(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "j", OPENING)
    journal.append(Kind.ROW, payload=b"12345678")
    kept = journal.nbytes
    real = os.pwritev

    def half(fd, buffers, offset):
        return real(fd, [b"".join(bytes(b) for b in buffers)[:20]], offset)

    monkeypatch.setattr(os, "pwritev", half)
    expected = (
        f"{tmp_path / 'j'}: cannot be written (the disk is full); its first {kept} bytes are intact; "
        "fix the disk, then run waldo recover"
    )
    for _ in range(2):  # it stays closed: a gap would be worse than an early end
        with pytest.raises(FileError) as error:
            journal.append(Kind.ROW, payload=b"12345678")
        assert str(error.value) == expected
    journal.close()
    assert (tmp_path / "j").stat().st_size == kept


def test_a_failing_disk_is_reported_with_its_reason(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "j", OPENING)

    def fail(fd, buffers, offset):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwritev", fail)
    with pytest.raises(FileError, match="cannot be written \\(No space left on device\\)"):
        journal.append(Kind.ROW, payload=b"12345678")
    journal.close()


def test_closed_journal_cannot_be_written(tmp_path):
    journal = Journal(tmp_path / "j", OPENING)
    journal.close()
    journal.close()
    with pytest.raises(FileError, match="cannot be written \\(the journal is closed\\)"):
        journal.append(Kind.ROW, payload=b"12345678")


def test_journal_is_flushed_to_disk_while_recording(tmp_path, monkeypatch):
    synced = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.set())
    journal = Journal(tmp_path / "j", OPENING, sync_s=0.01)
    journal.append(Kind.ROW, payload=b"12345678")
    assert synced.wait(10)
    journal.close()


def test_failed_flush_stops_the_recording(tmp_path, monkeypatch):
    tried = threading.Event()

    def fail(fd):
        tried.set()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    journal = Journal(tmp_path / "j", OPENING, sync_s=0.01)
    journal.append(Kind.ROW, payload=b"12345678")
    assert tried.wait(10)
    journal._stop.set()
    journal._syncer.join()
    with pytest.raises(FileError, match="Input/output error"):
        journal.append(Kind.ROW, payload=b"12345678")
    journal.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Return the bytes of a complete journal."""
    return write_journal(tmp_path_factory.mktemp("journal") / "j").read_bytes()


def recover(folder, data):
    """Recover a dataset with one journal of these bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    dataset = Dataset.create(folder, robot="tiny")
    (folder / "episode_000000.journal").write_bytes(data)
    with dataset.lock():
        results = dataset.recover()
    assert dataset.unfinished == []
    return dataset, results[0]


def assert_prefix(dataset):
    """Assert that an episode contains written rows only, from the first one on without a gap; return the row counts."""
    for episode in dataset.episodes:
        count = episode.count("s")
        assert count <= ROWS
        assert episode.sequence("s").tolist() == list(range(1, count + 1))
        assert [row.tobytes() for row in episode.values("s", "x")] == [bytes([k]) * 8 for k in range(count)]
    return [episode.count("s") for episode in dataset.episodes]


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_cut_is_recovered_without_invented_rows(tmp_path_factory, sound, data):
    length = data.draw(st.integers(0, len(sound)))
    dataset, result = recover(tmp_path_factory.getbasetemp() / "cut", sound[:length])
    counts = assert_prefix(dataset)
    assert counts == ([result.counts["s"]] if result.path else [])


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_flipped_bits_are_recovered_without_invented_rows(tmp_path_factory, sound, data):
    damaged = bytearray(sound)
    for bit in data.draw(st.lists(st.integers(0, len(sound) * 8 - 1), min_size=1, max_size=8)):
        damaged[bit // 8] ^= 1 << bit % 8
    dataset, _ = recover(tmp_path_factory.getbasetemp() / "flipped", bytes(damaged))
    assert_prefix(dataset)


@given(tail=st.binary(max_size=200), cut=st.integers(0, 60))
@settings(max_examples=25, deadline=None)
def test_garbage_after_a_cut_is_never_a_row(tmp_path_factory, sound, tail, cut):
    dataset, _ = recover(tmp_path_factory.getbasetemp() / "garbage", sound[: len(sound) - cut] + tail)
    assert_prefix(dataset)
