from dataclasses import replace

import numpy as np
import pytest

from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.quality.check import check_episode
from waldo.datasets.reading.clocks import foreign_clocks
from waldo.datasets.reading.row_config import RowConfig, UnfitEpisodeError
from waldo.datasets.reading.rows import make_rows
from waldo.errors import InvalidValueError, UnknownNameError

CONFIG = RowConfig(cameras=("front", "wrist"))
DEVICE = ("joints/state", "cameras/wrist", "joints/command")


class DeviceWriter:
    """Passes messages to a writer; those of some streams get the stamps of a device's clock."""

    def __init__(self, writer, streams, clock):
        self.writer, self.of_device, self.clock = writer, streams, clock
        self.streams = writer.streams

    def row(self, stream, **kw):
        self.writer.row(stream, **self.changed(stream, kw))

    def frame(self, stream, **kw):
        self.writer.frame(stream, **self.changed(stream, kw))

    def changed(self, stream, kw):
        return kw | {"header_ns": self.clock(kw["header_ns"])} if stream in self.of_device else kw


@pytest.fixture
def recorded(tmp_path, streams, play, script):
    """Return a function that records an episode in which some streams have stamps of another clock."""

    def run(names, clock, **faults):
        dataset = Dataset.create(tmp_path / "device", robot="tiny")
        with dataset.lock():
            writer = dataset.begin(streams, {"task": "t"}, back_pressure="wait")
            play(DeviceWriter(writer, names, clock), script(seconds=3.0, **faults))
            writer.save("success")
        return Dataset.open(tmp_path / "device")

    return run


def since_boot(stamp):
    """A clock that counts from the start of a device."""
    return stamp - 1_699_999_990_000_000_000


def drifting(stamp):
    """A clock that is 10 % fast."""
    return stamp + (stamp - 1_700_000_000_000_000_000) // 10


def ahead(stamp):
    return stamp + 2_500_000_000


CLOCKS = [since_boot, drifting, ahead]


def test_streams_with_one_clock_are_not_foreign(record, script):
    for late_ns in (1_000_000, 400_000_000, 10**18, -(10**15)):
        dataset = record(script(seconds=2.0, late_ns=late_ns, seed=late_ns % 7))
        assert foreign_clocks(dataset.episodes[-1]) == {}


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("stream", DEVICE)
def test_the_check_names_the_stream_and_the_option(recorded, clock, stream):
    episode = recorded([stream], clock).episodes[0]
    (found,) = [f for f in check_episode(episode).findings if f.kind == "clock"]
    assert (found.level, found.stream) == ("problem", stream)
    verb = {since_boot: "are 1699999990.00 s behind", drifting: "drift by ", ahead: "are 2.50 s ahead of"}[clock]
    assert found.text.startswith(f"stamps of {stream} {verb}")
    assert f"--stamps {stream}=receipt" in found.text
    # The other streams are checked as if the clocks were the same.
    assert {f.kind for f in check_episode(episode).findings} == {"clock", "robot"}


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("stream", DEVICE)
def test_rows_by_receipt_are_those_of_a_synchronized_clock(recorded, record, script, clock, stream):
    episode = recorded([stream], clock, late_ns=0).episodes[0]
    with pytest.raises(UnfitEpisodeError, match=rf"stamps of {stream} .*--stamps {stream}=receipt"):
        make_rows(episode, CONFIG)
    found = make_rows(episode, replace(CONFIG, stamps=(f"{stream}=receipt",)))
    wanted = make_rows(record(script(seconds=3.0, late_ns=0)).episodes[0], CONFIG)
    assert np.array_equal(found.instants_ns, wanted.instants_ns)
    assert found.columns.keys() == wanted.columns.keys()
    for key, column in wanted.columns.items():
        assert np.array_equal(found.columns[key].values, column.values), key
    for camera, frames in wanted.frames.items():
        assert np.array_equal(found.frames[camera], frames)


def test_stamps_that_are_confirmed_are_kept(recorded):
    episode = recorded(["joints/state"], lambda stamp: stamp - 1_500_000_000).episodes[0]
    rows = make_rows(episode, replace(CONFIG, stamps=("joints/state=header",), keep_not_following=True))
    state = episode.values("joints/state", "position")
    assert np.array_equal(rows.columns["observation.state"].values[0], state[90])


def test_two_devices_with_one_clock(recorded):
    assert set(foreign_clocks(recorded(DEVICE, since_boot).episodes[0])) == set(DEVICE)


def test_growing_delays_of_all_streams_are_not_a_drift(tmp_path, streams, play, script):
    """Simulated time that runs at half speed: the ages of all streams grow by as much."""
    dataset = Dataset.create(tmp_path / "simulated", robot="tiny")

    class Slow(DeviceWriter):
        def changed(self, stream, kw):
            passed = kw["header_ns"] - 1_700_000_000_000_000_000
            return kw | {"receipt_ns": kw["receipt_ns"] + passed}

    with dataset.lock():
        writer = dataset.begin(streams, {}, back_pressure="wait")
        play(Slow(writer, (), None), script(seconds=3.0))
        writer.save("success")
    assert foreign_clocks(Dataset.open(tmp_path / "simulated").episodes[0]) == {}


def test_receipts_that_do_not_advance_are_not_compared(tmp_path, streams, play, script):
    dataset = Dataset.create(tmp_path / "without", robot="tiny")

    class WithoutReceipt(DeviceWriter):
        def changed(self, stream, kw):
            return kw | {"receipt_ns": 0}

    with dataset.lock():
        writer = dataset.begin(streams, {}, back_pressure="wait")
        play(WithoutReceipt(writer, (), None), script(seconds=2.0))
        writer.save("success")
    assert foreign_clocks(Dataset.open(tmp_path / "without").episodes[0]) == {}


def test_an_export_skips_the_episode_and_names_the_option(recorded, tmp_path):
    dataset = recorded(["joints/state"], since_boot, late_ns=0)
    config = LeRobotConfig(rows=RowConfig(stamps=("joints/state=receipt",)))
    assert export_dataset(dataset, tmp_path / "out", config).rows == 90
    with pytest.raises(Exception, match=r"no episode can be exported \(episode 0: stamps of joints/state are"):
        export_dataset(dataset, tmp_path / "other", LeRobotConfig())


def test_a_calibrated_latency_is_relative_to_the_header_stamp(recorded):
    dataset = recorded(["cameras/wrist"], since_boot)
    dataset.set_latency({"cameras/wrist": 30_000_000})
    episode = dataset.episodes[0].with_receipt(["cameras/wrist"])
    assert np.array_equal(episode.capture_ns("cameras/wrist"), episode.time_ns("cameras/wrist", "receipt"))


def test_invalid_choices_are_refused(episode):
    for text in ("joints/state", "joints/state=device", "=receipt"):
        with pytest.raises(InvalidValueError, match="expected STREAM=receipt or STREAM=header"):
            RowConfig(stamps=(text,))
    with pytest.raises(UnknownNameError, match="unknown stream 'joints/stat'; did you mean 'joints/state'"):
        RowConfig(stamps=("joints/stat=receipt",)).resolve(episode)
