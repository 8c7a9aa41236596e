"""The file that makes a folder a dataset: `dataset.json`, with the format, its version and the robot."""

from __future__ import annotations

import json
from pathlib import Path

from waldo.datasets.storage.layout import DATASET_FILE
from waldo.datasets.storage.store_path import StorePath, read_bytes
from waldo.errors import FileError, NotADatasetError
from waldo.files import sync_file, write_atomic
from waldo.json_file import parse_json

FORMAT = "waldo-dataset"
"""Format name in dataset.json."""

SCHEMA_VERSION = 1
"""Version of the folder's layout; newer ones are refused."""


def create(folder: Path, robot: str) -> None:
    """Make a folder a dataset of a robot; the folder is created if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    description = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "robot": robot}
    write_atomic(folder / DATASET_FILE, json.dumps(description, indent=2) + "\n")
    sync_file(folder.absolute().parent)


def robot_of(folder: StorePath) -> str:
    """Return the robot of a dataset.

    Raises:
        NotADatasetError: If the folder has no description.
        FileError: If the description is damaged, or that of a newer version.
    """
    path = folder / DATASET_FILE
    try:
        found = parse_json(read_bytes(path))
        robot, version, kind = str(found["robot"]), int(found["schema_version"]), str(found["format"])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotADatasetError(folder, f"is not a dataset (no {DATASET_FILE})", "check the path") from error
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or error})", "restore it from a copy") from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise FileError(path, f"cannot be read ({error!r})", "restore it from a copy of the dataset") from error
    if kind != FORMAT or version > SCHEMA_VERSION:
        expected = f"expected {FORMAT!r} version {SCHEMA_VERSION}"
        raise FileError(path, f"is {kind!r} version {version}, {expected}", "update waldo")
    return robot
