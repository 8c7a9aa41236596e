"""Independent checkers of LeRobot datasets find no error in an export, and no warning that the documentation omits.

Each checker runs in an environment of its own, which uv keeps in its cache. `docs/guide/lerobot-checkers.md` explains
every warning; its table is the list of the warnings that these tests accept.
"""

import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.machine import INDEX
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.convert import import_dataset
from waldo.datasets.formats.source import ImportConfig
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.selection import Selection
from waldo.datasets.streams import Field, ScalarStream, VideoStream

REPOSITORY = Path(__file__).parents[3]
PAGE = REPOSITORY / "docs/guide/lerobot-checkers.md"
UNREACHABLE = re.compile(r"Failed to fetch|error sending request|Could not connect|dns error|offline", re.IGNORECASE)
"""What uv reports if it cannot reach a package index."""

JOINTS = ("pan", "lift", "elbow", "flex", "roll", "claw")
START_NS = 1_700_000_000_000_000_000
HEIGHT, WIDTH = 48, 64
SCALE = np.linspace(0.2, 0.9, len(JOINTS))


@dataclass(frozen=True)
class Report:
    """The findings of a checker, each "<identifier>: <text>"."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Checker:
    """A checker on the package index."""

    requirement: str
    """Distribution with extras and version."""
    arguments: tuple[str, ...]
    """Command line; DATASET and REPORT are replaced."""
    parse: Callable[[dict], Report]
    """Returns the findings in the JSON report."""

    @property
    def name(self) -> str:
        return self.requirement.partition("==")[0].partition("[")[0]

    @property
    def version(self) -> str:
        return self.requirement.partition("==")[2]


def by_level(found: Iterator[tuple[str, str]], errors: set[str], warnings: set[str]) -> Report:
    """Return the findings (level, text) as a report; every other level is a note."""
    listed = list(found)
    return Report(
        tuple(text for level, text in listed if level in errors),
        tuple(text for level, text in listed if level in warnings),
    )


def of_doctor(report: dict) -> Report:
    found = (
        (message["severity"], f"{check['name']}: {message['message']}")
        for check in report["checks"]
        for message in check["messages"]
    )
    return by_level(found, {"FAIL", "ERROR"}, {"WARN"})


def of_lint(report: dict) -> Report:
    found = ((one["severity"], f"{one['check']}: {one['message']}") for one in report["findings"])
    return by_level(found, {"error"}, {"warning"})


def of_rdq(report: dict) -> Report:
    found = ((one["severity"], f"{one['check']}: {one['message']}") for one in report["findings"])
    return by_level(found, {"critical"}, {"warning"})


def of_robovet(report: dict) -> Report:
    found = ((one["severity"], f"{one['check_id']}: {one['summary']}") for one in report["results"])
    return by_level(found, {"FAIL"}, {"WARN"})


def of_kalanos(report: dict) -> Report:
    found = [
        (one["severity"], f"{one['metric_id']}: {one['source_field']} {one['channel']}") for one in report["findings"]
    ]
    found += [("error", f"operational: {one}") for one in report["operational_errors"]]
    counts = report["eligibility_counts"]
    if counts["pass_count"] != counts["total"]:
        found.append(("error", f"eligibility: {counts}"))
    return by_level(iter(found), {"error", "critical"}, {"warning"})


MAPS = (
    *("--map", "observation.state=proprio.joint_position"),
    *("--map", "action=action.joint_position_command"),
    *("--map", "observation.images.front=extero.exterior_rgb"),
    *("--map", "observation.images.wrist=extero.wrist_rgb"),
)
"""What the columns are, without which kalanos checks neither their motion nor the videos."""

CHECKERS = {
    checker.name: checker
    for checker in (
        Checker("lerobot-doctor==0.2.0", ("lerobot-doctor", "check", "DATASET", "--json"), of_doctor),
        Checker("lerobot-lint==0.1.1", ("lelint", "check", "NAME", "--json", "REPORT"), of_lint),
        Checker("rdq[video]==0.3.4", ("rdq", "check", "DATASET", "--video-full", "--json", "REPORT"), of_rdq),
        Checker("robovet[video]==0.2.2", ("robovet", "doctor", "DATASET", "--json", "REPORT"), of_robovet),
        Checker(
            "kalanos[video,numeric]==0.8.2",
            ("kalanos", "-v", "error", "grade", "DATASET", "--tier", "full", "--json", *MAPS),
            of_kalanos,
        ),
    )
}


@functools.cache
def environment(requirement: str) -> tuple[str, ...]:
    """Return the start of a command that runs in an environment with a requirement; skip the test without an index."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip(INDEX)
    options = ("tool", "run", "--quiet", "--isolated", "--no-progress", "--python", "3.12")
    options += ("--constraints", str(REPOSITORY / "constraints/constraints.txt"), "--from", requirement)
    # A cached environment needs no index.
    for command in ((uv, *options, "--offline"), (uv, *options)):
        tried = subprocess.run(
            [*command, "python", "-c", ""], capture_output=True, text=True, check=False, cwd=REPOSITORY
        )
        if not tried.returncode:
            return command
    if UNREACHABLE.search(tried.stderr):
        pytest.skip(INDEX)
    raise AssertionError(tried.stderr)


def run(checker: Checker, dataset: Path) -> Report:
    """Return the report of a checker on a dataset."""
    folder = dataset.with_name(f"{dataset.name}-{checker.name}")
    folder.mkdir(exist_ok=True)
    report = folder / "report.json"
    replaced = {"DATASET": str(dataset), "NAME": dataset.name, "REPORT": str(report)}
    command = [*environment(checker.requirement), *(replaced.get(word, word) for word in checker.arguments)]
    # lerobot-lint opens a dataset by its name below LeRobot's folder.
    variables = {"HF_LEROBOT_HOME": str(dataset.parent), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)}
    found = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | variables, cwd=REPOSITORY
    )
    text = report.read_text() if report.exists() else found.stdout
    try:
        return checker.parse(json.loads(text))
    except (ValueError, KeyError):
        # A checker that cannot read the dataset writes no report.
        return Report((f"exit code {found.returncode}: {found.stdout}{found.stderr}",), ())


def motion(at_s: float, number: int) -> np.ndarray:
    """Return the commanded positions of an episode at a time, a motion of its own for every episode [rad]."""
    generator = np.random.default_rng(number)
    frequency, phase = generator.uniform(0.15, 0.6, len(JOINTS)), generator.uniform(0, 6.28, len(JOINTS))
    return SCALE * np.sin(2 * np.pi * frequency * at_s + phase) + generator.uniform(-0.3, 0.3, len(JOINTS))


def image(position: np.ndarray, camera: int, noise: np.random.Generator) -> np.ndarray:
    """Return an image in which two blocks follow the joints."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    out = np.stack([rows * 3, columns * 2, np.full_like(rows, 60 + 40 * camera)], axis=-1).astype(np.int16)
    for joint, color in ((camera, (240, 60, 40)), (camera + 2, (40, 220, 240))):
        left, top = (int(20 + 14 * value) for value in (position[joint], position[joint + 1]))
        out[max(top, 0) : top + 12, max(left, 0) : left + 14] = color
    return np.clip(out + noise.integers(-6, 7, out.shape), 0, 255).astype(np.uint8)


def record(dataset: Dataset, number: int, seconds: float, task: str, outcome: str) -> None:
    """Record an episode: a robot at 100 Hz that follows with a lag, motors at 10 Hz that start late, two cameras."""
    position = Field("position", "rad", JOINTS)
    streams = [
        ScalarStream(
            name="joints/state",
            rate_hz=100.0,
            fields=(position, Field("velocity", "rad/s", JOINTS), Field("effort", "N·m", JOINTS)),
        ),
        ScalarStream(name="joints/command", rate_hz=50.0, fields=(position,)),
        ScalarStream(name="joints/sent", rate_hz=100.0, fields=(position,)),
        ScalarStream(
            name="motors", rate_hz=10.0, fields=(Field("winding", "°C", JOINTS), Field("current", "A", JOINTS))
        ),
        VideoStream(name="cameras/front", width=WIDTH, height=HEIGHT, rate_hz=30.0),
        VideoStream(name="cameras/wrist", width=WIDTH, height=HEIGHT, rate_hz=30.0),
    ]
    noise = np.random.default_rng(1000 + number)
    writer = dataset.begin(streams, {"task": task, "seed": number, "operator": f"p{number % 2}"}, back_pressure="wait")
    events: list[tuple[float, str]] = []
    for place, stream in enumerate(streams):
        late = 0.4 if stream.name == "motors" else 0.013 * place
        events += [(late + k / stream.rate_hz, stream.name) for k in range(round((seconds - late) * stream.rate_hz))]
    counts = dict.fromkeys((stream.name for stream in streams), 0)
    for at_s, name in sorted(events):
        counts[name] += 1
        if name == "cameras/wrist" and counts[name] == 40 + number:
            continue  # a lost frame
        stamp = START_NS + number * 60_000_000_000 + round(at_s * 1e9)
        kw = {"header_ns": stamp, "receipt_ns": stamp + 2_000_000, "sequence": counts[name]}
        commanded, measured = motion(at_s, number), motion(at_s - 0.06, number)
        velocity = (motion(at_s - 0.05, number) - motion(at_s - 0.07, number)) / 0.02
        values = {
            "joints/state": {"position": measured, "velocity": velocity, "effort": velocity + noise.normal(0, 0.05, 6)},
            "joints/command": {"position": commanded},
            "joints/sent": {"position": commanded},
            "motors": {"winding": 35 + at_s + noise.normal(0, 0.2, 6), "current": np.abs(velocity) + 0.1},
        }
        if name in values:
            writer.row(name, values=values[name], **kw)
        else:
            writer.frame(name, image=image(measured, int(name == "cameras/wrist"), noise), **kw)
    writer.save(outcome)


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> dict[str, Path]:
    """Return the exports that are checked: of a recording, of the import of that export, and of two episodes."""
    root = tmp_path_factory.mktemp("checked")
    everything = LeRobotConfig(selection=Selection(), license="apache-2.0")
    dataset = Dataset.create(root / "recording", robot="tiny")
    with dataset.lock():
        for number in range(5):
            outcome = ("success", "failure", "success", "unknown")[number % 4]
            task = "put the cube into the box" if number % 3 else "lift the red cube"
            record(dataset, number, 3.5 + 0.2 * number, task, outcome)
    export_dataset(dataset, root / "export", everything)
    export_dataset(dataset, root / "short", LeRobotConfig(selection=Selection(episodes="0-1"), license="apache-2.0"))
    import_dataset(root / "export", root / "imported", ImportConfig())
    export_dataset(Dataset.open(root / "imported"), root / "reexport", everything)
    return {name: root / name for name in ("export", "reexport", "short")}


def documented() -> dict[tuple[str, str], list[re.Pattern[str]]]:
    """Return (checker, version) -> the patterns of the warnings that the documentation explains.

    A pattern is text in which "..." stands for anything.
    """
    found: dict[tuple[str, str], list[re.Pattern[str]]] = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[2].startswith("`"):
            pattern = re.escape(cells[2].strip("`")).replace(re.escape("..."), ".*")
            found.setdefault((cells[0], cells[1]), []).append(re.compile(pattern, re.DOTALL))
    return found


@pytest.mark.parametrize(
    ("dataset", "checker"), [*(("export", name) for name in CHECKERS), ("reexport", "rdq"), ("reexport", "robovet")]
)
def test_a_checker_finds_no_error_and_only_explained_warnings(exports, dataset, checker):
    report = run(CHECKERS[checker], exports[dataset])
    assert report.errors == ()
    patterns = documented().get((checker, CHECKERS[checker].version), [])
    assert [text for text in report.warnings if not any(pattern.match(text) for pattern in patterns)] == []


def test_every_checker_is_documented_with_its_version():
    text = PAGE.read_text()
    for checker in CHECKERS.values():
        assert f'"{checker.requirement}"' in text


def rewritten(dataset: Path, change: Callable[[dict[str, list]], None]) -> None:
    """Change the rows of a dataset."""
    (path,) = dataset.glob("data/*/*.parquet")
    table = pq.read_table(path)
    columns = table.to_pydict()
    change(columns)
    pq.write_table(pa.table(columns, schema=table.schema), path)


def with_nan(dataset: Path) -> None:
    def change(columns: dict[str, list]) -> None:
        for row in range(50, 90):
            columns["observation.state"][row] = [float("nan")] * len(JOINTS)

    rewritten(dataset, change)


def with_stuck_action(dataset: Path) -> None:
    def change(columns: dict[str, list]) -> None:
        for row, action in enumerate(columns["action"]):
            columns["action"][row] = [9.0 * (row % 2), *action[1:]]

    rewritten(dataset, change)


DAMAGES = {
    with_nan: ("short", {"rdq", "robovet", "kalanos"}),
    with_stuck_action: ("export", {"lerobot-doctor", "lerobot-lint"}),
}
"""Damage -> export, and checkers that report it. Others do as well; one damage for each checker is enough."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_export_is_reported(exports, tmp_path, damage):
    """Each checker reports some damage, so none of them passes an export because it was not run properly."""
    dataset = tmp_path / "damaged"
    export, expected = DAMAGES[damage]
    shutil.copytree(exports[export], dataset)
    damage(dataset)
    known = documented()
    complaining = set()
    for name in expected:
        report = run(CHECKERS[name], dataset)
        patterns = known.get((name, CHECKERS[name].version), [])
        if report.errors or [text for text in report.warnings if not any(p.match(text) for p in patterns)]:
            complaining.add(name)
    assert complaining == expected


def test_every_checker_reports_some_damage():
    assert set().union(*(checkers for _, checkers in DAMAGES.values())) == set(CHECKERS)
