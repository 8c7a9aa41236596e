"""Every number of an export is recomputed from the recording by a script that shares no code with waldo."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.lerobot.recompute import MAX_STALENESS_S, compare
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.selection import Selection
from waldo.datasets.streams import Field, ScalarStream, VideoStream

SCRIPT = Path(__file__).with_name("recompute.py")
START_NS = 1_700_000_000_123_456_789
JOINTS = ("hip", "knee", "claw")
PLAIN = {"joints/state": 60.0, "joints/command": 60.0, "joints/sent": 60.0, "motors": 10.0, "environment": 60.0}
CAMERAS = {"cameras/front": 30.0, "cameras/wrist": 30.0}


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What is recorded, and how it is exported."""

    rates: Mapping[str, float] = field(default_factory=lambda: PLAIN | CAMERAS)
    """Stream -> rate [Hz]."""
    late_s: Mapping[str, float] = field(default_factory=dict)
    """Stream -> time of its first message [s]."""
    early_s: Mapping[str, float] = field(default_factory=dict)
    """Stream -> time by which it ends before the others [s]."""
    gaps_s: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Stream -> time without messages, which are lost [s]."""
    jitter_s: float = 0.0
    """Largest deviation of a stamp [s]."""
    unknown_s: tuple[float, float] = (0.0, 0.0)
    """Time in which the telemetry of the first joint is unknown [s]."""
    latency_ns: Mapping[str, int] = field(default_factory=dict)
    """Camera -> latency that was measured later [ns]."""
    fps: int = 30
    seconds: tuple[float, ...] = (1.3, 2.0)
    """Length of each episode [s]."""


RECORDINGS = {
    "one rate": Recording(),
    "another rate": Recording(fps=20),
    "rates that do not divide": Recording(
        rates={"joints/state": 97.0, "joints/command": 41.0, "joints/sent": 97.0, "motors": 3.0}
        | {"cameras/front": 30.0, "cameras/wrist": 25.0},
        jitter_s=0.003,
    ),
    "a slow robot": Recording(
        rates={"joints/state": 15.0, "joints/command": 15.0, "motors": 1.0, "cameras/front": 50.0}, fps=50
    ),
    "gaps": Recording(
        gaps_s={
            "joints/state": (0.5, 0.68),
            "joints/command": (0.8, 1.1),
            "motors": (0.3, 0.9),
            "cameras/front": (0.21, 0.32),
            "cameras/wrist": (0.75, 0.9),
        },
        jitter_s=0.002,
    ),
    "late starts and early ends": Recording(
        late_s={"joints/state": 0.41, "motors": 0.63, "cameras/front": 0.13, "cameras/wrist": 0.52},
        early_s={"joints/command": 0.3, "cameras/wrist": 0.21},
    ),
    "late starts on a grid": Recording(
        late_s={"joints/state": 0.41, "motors": 0.63, "cameras/wrist": 0.52}, early_s={"environment": 0.33}, fps=24
    ),
    "unknown telemetry": Recording(unknown_s=(0.0, 0.55)),
    "telemetry unknown for a time": Recording(unknown_s=(0.45, 0.8), rates=PLAIN | {"cameras/front": 30.0}),
    "cameras with latency": Recording(latency_ns={"cameras/front": 21_000_000, "cameras/wrist": 55_000_000}),
}


def streams(rates: Mapping[str, float]) -> list[ScalarStream | VideoStream]:
    position = Field("position", "rad", JOINTS)
    fields = {
        "joints/state": (position, Field("velocity", "rad/s", JOINTS), Field("effort", "N·m", JOINTS)),
        "motors": (Field("winding", "°C", JOINTS), Field("current", "A", JOINTS)),
        "environment": (Field("value", "m", ("cube.x", "goal"), "float64"),),
    }
    return [
        VideoStream(name=name, width=64, height=48, rate_hz=rate)
        if name in CAMERAS
        else ScalarStream(name=name, rate_hz=rate, fields=fields.get(name, (position,)))
        for name, rate in rates.items()
    ]


def record(dataset: Dataset, plan: Recording, make_image, number: int, seconds: float) -> None:
    """Record an episode; numbers are random, so that a wrong sample cannot go unnoticed."""
    random = np.random.default_rng(number)
    writer = dataset.begin(streams(plan.rates), {"task": f"task {number % 2}"}, back_pressure="wait")
    events: list[tuple[float, str, int]] = []
    for name, rate in plan.rates.items():
        first, last = plan.late_s.get(name, 0.0), seconds - plan.early_s.get(name, 0.0)
        for count in range(round((last - first) * rate)):
            events.append((first + count / rate, name, count))
    for at_s, name, count in sorted(events):
        start, stop = plan.gaps_s.get(name, (0.0, 0.0))
        if start <= at_s < stop:
            continue
        stamp = START_NS + number * 10**11 + round((at_s + random.uniform(-1, 1) * plan.jitter_s) * 1e9)
        kw = {"header_ns": stamp, "receipt_ns": stamp + 1_500_000, "sequence": count + 1}
        if name in CAMERAS:
            writer.frame(name, image=make_image(count, 3 * (name == "cameras/wrist")), **kw)
            continue
        (stream,) = streams({name: 1.0})
        values = {one.name: random.normal(0, 0.5, len(one.labels)) for one in stream.fields}
        if plan.unknown_s[0] <= at_s < plan.unknown_s[1]:
            for one in ("velocity", "effort", "winding", "current"):
                if one in values:
                    values[one][0] = np.nan
        writer.row(name, values=values, **kw)
    writer.save(("success", "failure")[number % 2])


@pytest.fixture(scope="module")
def exported_before() -> dict[str, Path]:
    """Folders of earlier tests by the name of their recording."""
    return {}


@pytest.fixture
def exported(request, exported_before, tmp_path_factory, make_image) -> Path:
    """Return the folder with a recording and its export, which must not be changed."""
    name = request.param
    if name not in exported_before:
        exported_before[name] = export(RECORDINGS[name], tmp_path_factory.mktemp("exported"), make_image)
    return exported_before[name]


@pytest.fixture
def copied(exported, tmp_path) -> Path:
    """Return such a folder that may be changed."""
    return shutil.copytree(exported, tmp_path / "copied")


def export(plan: Recording, folder: Path, make_image) -> Path:
    """Record and export into a folder and return it."""
    dataset = Dataset.create(folder / "recording", robot="tiny")
    with dataset.lock():
        for number, seconds in enumerate(plan.seconds):
            record(dataset, plan, make_image, number, seconds)
    if plan.latency_ns:
        dataset.set_latency(plan.latency_ns)
    rows = RowConfig(fps=plan.fps, keep_not_following=True)
    done = export_dataset(dataset, folder / "export", LeRobotConfig(selection=Selection(), rows=rows))
    assert done.skipped == {}
    return folder


def recompute(folder: Path) -> dict:
    done = compare(folder / "recording", folder / "export", MAX_STALENESS_S)
    return {"compared": done.compared, "differences": done.differences}


@pytest.mark.parametrize("exported", RECORDINGS, indirect=True)
def test_an_independent_script_computes_the_same_rows_frames_and_statistics(exported):
    found = recompute(exported)
    assert found["differences"] == []
    assert found["compared"]["episodes"] == 2
    assert min(found["compared"].values()) > 0


@pytest.mark.parametrize("exported", ["one rate"], indirect=True)
def test_the_script_is_a_program_of_its_own(exported):
    command = [sys.executable, SCRIPT, exported / "recording", exported / "export"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == recompute(exported)


def test_the_script_is_independent():
    text = SCRIPT.read_text()
    assert "import waldo" not in text
    assert "from waldo" not in text


def change(path: Path, column: str, row: int) -> None:
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[row] = [value + 1e-3 for value in values[row]]
    at = table.schema.get_field_index(column)
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type)), path)


@pytest.mark.parametrize("exported", ["one rate"], indirect=True)
@pytest.mark.parametrize("column", ["observation.state", "action", "telemetry.staleness"])
def test_the_script_finds_a_changed_number(copied, column):
    change(copied / "export/data/chunk-000/file-000.parquet", column, 50)
    assert recompute(copied)["differences"][0].startswith(f"episode 1 {column}[")


@pytest.mark.parametrize("exported", ["one rate"], indirect=True)
def test_the_script_finds_shifted_frames(copied):
    path = copied / "export/meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index("videos/observation.images.front/from_timestamp")
    starts = [value + 1 / 30 for value in table.column(at).to_pylist()]
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(starts)), path)
    assert any("cameras/front" in difference for difference in recompute(copied)["differences"])
