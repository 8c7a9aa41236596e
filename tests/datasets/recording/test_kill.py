"""A recording process is killed with SIGKILL; the data that it had written is recovered."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from waldo.datasets.dataset import Dataset
from waldo.datasets.recording.encoding import QUEUE_S

RECORDER = """
import sys
import numpy as np
from waldo.datasets.dataset import Dataset
from waldo.datasets.streams import Field, ScalarStream, VideoStream

streams = (
    ScalarStream(name="joints/state", rate_hz=60.0, fields=(Field("position", "rad", ("a", "b")),)),
    VideoStream(name="cameras/front", width=64, height=48, rate_hz=30.0),
)

def play(writer, ticks):
    for tick in ticks:
        stamps = dict(header_ns=round(tick * 1e9 / 60), receipt_ns=round(tick * 1e9 / 60), sequence=tick + 1)
        writer.row("joints/state", values={"position": np.full(2, tick)}, **stamps)
        if tick % 2 == 0:
            stamps["sequence"] = tick // 2 + 1
            writer.frame("cameras/front", image=np.full((48, 64, 3), tick % 200, np.uint8), **stamps)
        # Printed after the call returned: from here on the row counts as recorded.
        print(tick, flush=True)

with Dataset.open(sys.argv[1]).lock() as dataset:
    for _ in range(2):
        writer = dataset.begin(streams, {"task": "t"}, back_pressure="wait")
        play(writer, range(20))
        writer.save("success")
    import itertools
    play(dataset.begin(streams, {"task": "t"}, back_pressure="wait"), itertools.count())
"""


@pytest.mark.parametrize("ticks", [1, 47, 130])
def test_a_killed_recorder_loses_neither_rows_nor_saved_episodes(tmp_path, ticks):
    dataset = Dataset.create(tmp_path / "d", robot="tiny")
    command = [sys.executable, "-c", RECORDER, str(dataset.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = [int(process.stdout.readline()) for _ in range(2 * 20 + ticks)]
        process.kill()
        rest = process.stdout.read().split()
    assert process.returncode == -signal.SIGKILL
    last = int(rest[-1]) if len(rest) > 1 else printed[-1]

    with dataset.lock():  # the lock of the dead process is free
        (result,) = dataset.recover()
    assert [(e.outcome, e.reason) for e in dataset.episodes] == [
        ("success", "operator"),
        ("success", "operator"),
        ("unknown", "interrupted"),
    ]
    assert [e.count("joints/state") for e in dataset.episodes][:2] == [20, 20]
    cut = dataset.episodes[2]
    assert result.counts["joints/state"] == cut.count("joints/state") >= min(last, printed[-1])
    positions = cut.values("joints/state", "position")
    assert np.array_equal(positions, np.repeat(np.arange(len(positions)), 2).reshape(-1, 2))
    # This recorder is faster than the encoder: at most a full queue, one frame in the encoder and one before the queue
    # are missing, and the stored ones are in order.
    frames = cut.frames("cameras/front")
    assert cut.sequence("cameras/front").tolist() == list(range(1, len(frames) + 1))
    assert len(frames) >= len(positions) / 2 - QUEUE_S * 30 - 2
    brightness = frames.mean(axis=(1, 2, 3))
    assert np.abs(brightness - (2 * np.arange(len(frames))) % 200).max(initial=0.0) < 4
