import re

import numpy as np
import pytest

from waldo.datasets.quality.check import check_episode
from waldo.datasets.reading.gaps import Gap, gaps_of, stream_gaps
from waldo.datasets.reading.row_config import RowConfig, UnfitEpisodeError
from waldo.datasets.reading.rows import make_rows

CONFIG = RowConfig(cameras=("front", "wrist"))


def test_a_gap_is_between_two_stamps():
    stamps = np.array([0, 100, 200, 1200, 1300, 5000]) * 1_000_000
    assert gaps_of(stamps, 0.5) == [Gap(200_000_000, 1_200_000_000), Gap(1_300_000_000, 5_000_000_000)]
    assert gaps_of(stamps[::-1], 0.5) == gaps_of(stamps, 0.5)
    assert gaps_of(stamps, 1.0) == [Gap(1_300_000_000, 5_000_000_000)]
    assert gaps_of(stamps[:1], 0.0) == gaps_of(stamps[:0], 0.0) == []


def place(text: str) -> str:
    """Return length and position in a report of a gap."""
    (found,) = re.findall(r"\d+ gaps?, the longest \d+ ms at \d+\.\d\d s", text)
    return found


@pytest.mark.parametrize(
    ("faults", "stream", "where"),
    [
        ({"without_rows": range(60, 90)}, "joints/state", "1 gap, the longest 517 ms at 0.98 s"),
        (
            {"without_rows": [*range(40, 60), *range(80, 110)]},
            "joints/state",
            "2 gaps, the longest 517 ms at 1.32 s",
        ),
        (
            {"without_frames": {"cameras/wrist": range(20, 40)}},
            "cameras/wrist",
            "1 gap, the longest 700 ms at 0.63 s",
        ),
        # The first camera, whose frames are the rows, is late: the rows start later than the episode.
        (
            {"without_frames": {"cameras/front": range(12)}, "without_rows": range(60, 90)},
            "joints/state",
            "1 gap, the longest 517 ms at 0.98 s",
        ),
    ],
)
def test_the_check_and_the_export_place_a_gap_at_the_same_time(record, script, faults, stream, where):
    episode = record(script(seconds=3.0, **faults)).episodes[0]
    with pytest.raises(UnfitEpisodeError) as refused:
        make_rows(episode, CONFIG)
    assert refused.value.why == f"{stream} has {where} (the limit is 0.25 s)"
    (found,) = [f.text for f in check_episode(episode).findings if (f.kind, f.stream) == ("gap", stream)]
    assert place(found) == where


def test_a_cameras_gap_is_located_by_its_exposure(record, script):
    dataset = record(script(seconds=3.0, without_frames={"cameras/wrist": range(20, 40)}))
    dataset.set_latency({"cameras/wrist": 50_000_000})
    episode = dataset.episodes[0]
    with pytest.raises(UnfitEpisodeError, match=r"wrist has 1 gap, the longest 700 ms at 0\.58 s"):
        make_rows(episode, CONFIG)
    (found,) = [f.text for f in check_episode(episode).findings if f.kind == "gap"]
    assert place(found) == "1 gap, the longest 700 ms at 0.58 s"
    assert stream_gaps(episode, "cameras/wrist", 0.25)[0].seconds == pytest.approx(0.7)


def test_a_gap_of_commands_is_one_of_the_applied_commands_as_well(record, script, monkeypatch):
    """While the operator is disengaged the applied command is the action, so a gap of both is reported as its gap."""
    episode = record(script(seconds=3.0, hands_off=range(60, 120))).episodes[0]
    capture = episode.time_ns

    def without_applied(stream: str, clock: str = "header") -> np.ndarray:
        stamps = capture(stream, clock).copy()
        if stream == "joints/sent":
            stamps[70:100] = stamps[70]
        return stamps

    monkeypatch.setattr(episode, "time_ns", without_applied)
    with pytest.raises(UnfitEpisodeError, match=r"joints/sent has 1 gap, the longest 500 ms at 1\.17 s"):
        make_rows(episode, CONFIG)


def test_without_applied_commands_a_gap_of_the_commands_is_a_problem(record, script, streams, play):
    whole = record(script(seconds=3.0, hands_off=range(60, 120))).episodes[0]
    assert [f.kind for f in check_episode(whole).findings if f.stream == "joints/command"] == []
    whole.attributes["streams"].pop("joints/sent")
    del whole.__dict__["streams"]
    found = [f.text for f in check_episode(whole).findings if (f.kind, f.stream) == ("gap", "joints/command")]
    assert found == ["1 gap, the longest 1000 ms at 1.00 s"]
