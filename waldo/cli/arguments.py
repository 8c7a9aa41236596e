"""What several commands take in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

type Folder = Annotated[Path, tyro.conf.Positional]
"""A folder on this machine, named without an option."""

type Where = Annotated[str, tyro.conf.Positional]
"""A dataset, named without an option: its folder, or its address in an object store such as `s3://bucket/name`."""
