"""Positional arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

type Folder = Annotated[Path, tyro.conf.Positional]
"""A local folder, as a positional argument."""

type DatasetAddress = Annotated[str, tyro.conf.Positional]
"""A dataset as a positional argument: a folder, or an address in an object store such as `s3://bucket/name`."""
