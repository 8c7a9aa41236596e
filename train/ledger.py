"""The ledger of a series of policies: which data and which parent made which policy, and with which result and heat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.fingerprint import fingerprint
from waldo.datasets.storage import jsonlines
from waldo.errors import FileError

LEDGER_FILE = "ledger.jsonl"
"""Name of the file; one JSON object per policy."""


@dataclass(frozen=True, kw_only=True)
class DataUsed:
    """A dataset that a policy was trained on."""

    path: str
    """Folder of the dataset."""
    episodes: int
    """Number of its episodes."""
    sha256: str
    """Its fingerprint, which changes with every edit."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One policy."""

    round: int
    """0 for the first policy, which was trained on demonstrations alone."""
    policy: str
    """Folder of the training."""
    parent: str | None
    """Folder of the policy whose mistakes were corrected; None for the first one."""
    data: list[DataUsed]
    """What it was trained on."""
    interventions: int
    """Corrections by a person in the data."""
    person_s: float
    """Time of these corrections [s]."""
    steps: int
    """Optimizer steps."""
    seeds: tuple[int, int]
    """First seed and number of seeds of the evaluation."""
    success: list[bool]
    """Whether each evaluated episode reached its goal."""
    wilson_95: tuple[float, float]
    """95 % Wilson score interval of the success rate."""
    max_winding_c: dict[str, float]
    """Joint -> maximum winding temperature in the evaluation [°C]."""
    joules: dict[str, float]
    """Joint -> mean heat in its winding per episode [J]."""
    gain: float | None = None
    """Difference of the success rate to that of the parent on the same seeds; None for the first policy."""
    mcnemar_p: float | None = None
    """Exact McNemar test of that difference, two-sided."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further options of the round."""

    @property
    def rate(self) -> float:
        """Success rate, 0 to 1."""
        return sum(self.success) / len(self.success)


def describe_data(path: Path) -> DataUsed:
    """Return what identifies a dataset."""
    return DataUsed(path=str(path), episodes=len(Dataset.open(path).indices), sha256=fingerprint(path))


def compare(before: Sequence[bool], after: Sequence[bool]) -> tuple[float, float]:
    """Return the gain in success rate between two evaluations of the same seeds, and McNemar's exact p, two-sided.

    The test counts the seeds on which only one of both succeeded: if there is no difference, each is as likely.
    """
    from scipy.stats import binomtest

    pairs = list(zip(before, after, strict=True))
    lost, won = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    p = float(binomtest(won, lost + won).pvalue) if lost + won else 1.0
    return (sum(after) - sum(before)) / len(pairs), p


def read_ledger(folder: Path) -> list[Entry]:
    """Return the entries of a folder, oldest first; none if there is no ledger.

    Raises:
        FileError: If a line is not an entry.
    """
    path = folder / LEDGER_FILE
    lines = jsonlines.read(path)
    try:
        entries = TypeAdapter(list[Entry]).validate_python(lines.values)
    except ValidationError as error:
        raise FileError(path, f"is not a ledger ({error.errors()[0]['msg']})", "choose another folder") from error
    if lines.damaged:
        raise FileError(path, f"line {lines.damaged[0]} is damaged", "restore the file, or choose another folder")
    return entries


def add_entry(folder: Path, entry: Entry) -> None:
    """Append an entry, durably."""
    jsonlines.append(folder / LEDGER_FILE, [asdict(entry)], sync=True)
