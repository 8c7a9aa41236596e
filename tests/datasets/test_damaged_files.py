"""Every file of the store, damaged, gives one line or keeps its meaning; so do values with a matching checksum."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from tests.damaged_files import check_parser, in_place_of
from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.quality.check import check_dataset
from waldo.datasets.recording.journal import HEADER, MAGIC, Kind, checksum
from waldo.datasets.storage import jsonlines
from waldo.datasets.streams import Field, ScalarStream, VideoStream

STREAM = ScalarStream(name="joints/state", rate_hz=60.0, fields=(Field("position", "rad", ("a", "b")),))
CAMERA = VideoStream(name="cameras/front", width=32, height=16, rate_hz=30.0)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of one episode, which must not be changed."""
    folder = tmp_path_factory.mktemp("sound") / "dataset"
    dataset = Dataset.create(folder, robot="tiny")
    with dataset.lock():
        writer = dataset.begin([STREAM, CAMERA], {"task": "lift"}, back_pressure="wait")
        for tick in range(6):
            stamps = {"header_ns": 10**18 + tick, "receipt_ns": 10**18 + tick, "sequence": tick + 1}
            writer.row("joints/state", values={"position": [tick, 0]}, **stamps)
            writer.frame("cameras/front", image=np.zeros((16, 32, 3), np.uint8), **stamps)
        writer.event("note", "a note", at_ns=10**18)
        writer.save("success")
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "dataset")


def read_all(path: Path) -> None:
    """Read an episode completely."""
    episode = Episode(path)
    for name in episode.streams:
        episode.time_ns(name)
        episode.time_ns(name, "receipt")
        episode.gaps(name)
    for name, stream in episode.streams.items():
        for field in getattr(stream, "fields", ()):
            episode.values(name, field.name)
    for name in episode.image_streams:
        episode.frames(name)
        episode.repeated(name)
    for name in episode.cameras:
        episode.image_statistics(name)
    assert episode.duration_s >= 0 or episode.span_ns
    str((episode.task, episode.outcome, episode.reason, episode.nbytes, episode.max_winding_c, episode.events))


def test_the_description_of_a_dataset(folder: Path, tmp_path: Path) -> None:
    file = folder / "dataset.json"
    valid = json.loads(file.read_text())
    messages = check_parser(tmp_path, valid, in_place_of(file, lambda: Dataset.open(folder).robot and None))
    assert {"empty", "deep lists", "fifo", "directory", "endless", "('robot',) removed"} <= messages.keys()


def test_the_attributes_of_an_episode(folder: Path, tmp_path: Path) -> None:
    path = folder / "episode_000000.zarr"
    valid = json.loads((path / "zarr.json").read_text())
    messages = check_parser(tmp_path, valid, in_place_of(path / "zarr.json", lambda: read_all(path)))
    assert {"empty", "deep lists", "fifo", "directory", "endless", "('attributes', 'streams') = -1"} <= messages.keys()


@pytest.mark.parametrize("array", ["joints/state/values", "joints/state/time", "cameras/front"])
def test_the_metadata_of_an_array(folder: Path, tmp_path: Path, array: str) -> None:
    path = folder / "episode_000000.zarr"
    file = path / array / "zarr.json"
    valid = json.loads(file.read_text())
    messages = check_parser(tmp_path, valid, in_place_of(file, lambda: read_all(path)))
    assert {"empty", "deep lists", "fifo", "directory", "endless"} <= messages.keys()


def test_a_check_reports_every_damaged_episode(folder: Path, tmp_path: Path) -> None:
    path = folder / "episode_000000.zarr"
    valid = json.loads((path / "zarr.json").read_text())

    def check() -> str:
        (report,) = check_dataset(Dataset.open(folder))
        return "" if report.problems else "sound"

    messages = check_parser(tmp_path, valid, in_place_of(path / "zarr.json", check))
    sound = {name for name, message in messages.items() if message == "sound"}
    assert all(name.startswith(("('node_type',)", "('zarr_format',)")) for name in sound), sound


def checksummed(damaged: Path) -> bytes:
    """Return the content of a damaged file as one line with a matching checksum."""
    value = damaged.read_bytes()
    return b'{"crc32c":"%08x","value":%s}\n' % (google_crc32c.value(value), value)


@pytest.mark.parametrize("name", ["edits.jsonl", "catalog.jsonl"])
def test_lines_with_a_matching_checksum(folder: Path, tmp_path: Path, name: str) -> None:
    dataset = Dataset.open(folder)
    with dataset.lock():
        dataset.relabel([0], task="push", outcome="failure")
    file = folder / name
    valid = jsonlines.read(file).values[-1]

    def parse(damaged: Path) -> None:
        if damaged.name == "damaged":
            file.write_bytes(checksummed(damaged))
        else:
            file.unlink()
            file.symlink_to(damaged)
        found = Dataset.open(folder)
        assert len(list(found.catalog)) + len(list(found.deleted)) <= 1
        [episode.task for episode in found.episodes]

    check_parser(tmp_path, valid, parse)


@pytest.mark.parametrize("kind", [Kind.OPEN, Kind.EVENT, Kind.CLOSE])
def test_records_of_a_journal_with_a_matching_checksum(tmp_path: Path, kind: Kind) -> None:
    opening = {"streams": [STREAM.to_dict()], "attributes": {"task": "lift"}}
    event = {"at_ns": 5, "kind": "note", "text": "a note"}
    closing = {"outcome": "success", "reason": "operator"}
    valid = {Kind.OPEN: opening, Kind.EVENT: event, Kind.CLOSE: closing}[kind]
    folder = tmp_path / "dataset"

    def parse(damaged: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        dataset = Dataset.create(folder, robot="tiny")
        path = folder / "episode_000000.journal"
        if damaged.name == "missing":
            return
        if damaged.name != "damaged":
            path.symlink_to(damaged)
        else:
            contents = {Kind.OPEN: opening, Kind.EVENT: event, Kind.CLOSE: closing}
            payloads = {one: json.dumps(value).encode() for one, value in contents.items()}
            payloads |= {Kind.ROW: np.zeros(2, "<f4").tobytes(), kind: damaged.read_bytes()}
            path.write_bytes(b"".join(record(one, payloads[one]) for one in ORDER))
        with dataset.lock():
            dataset.recover()
        assert list(folder.glob("episode_000000.*")), "the recording was deleted"
        if kind != Kind.OPEN and damaged.name == "damaged":
            # An unreadable event is kept as an event that states it, and an unreadable outcome is unknown.
            (episode,) = dataset.episodes
            assert len(episode.events) == 1
            assert episode.count("joints/state") == 1
            found.add((episode.events[0]["kind"], episode.outcome))

    found: set[tuple[str, str]] = set()
    check_parser(tmp_path, valid, parse)
    if kind == Kind.EVENT:
        assert ("damaged", "success") in found
    if kind == Kind.CLOSE:
        assert {("note", "success"), ("note", "unknown")} <= found


ORDER = (Kind.OPEN, Kind.ROW, Kind.EVENT, Kind.CLOSE)


def record(kind: Kind, payload: bytes) -> bytes:
    """Return a record of a journal."""
    head = HEADER.pack(MAGIC, kind, 0, 0, len(payload), 1, 2, -1, 1, 0)[:-4]
    return head + checksum(head, payload).to_bytes(4, "little") + payload
