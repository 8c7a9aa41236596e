"""Imports of LeRobot and transformers, which take a quarter less time with this."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager

from waldo.train import package_map


@contextmanager
def large_import() -> Generator[None]:
    """Import LeRobot or transformers in this block, without the work that their size would cause otherwise.

    They create a million objects that live until the process ends. The garbage collector would visit all of them
    several times during the imports (1 s) and again when the process exits (3 s); afterwards they are exempt from it.
    """
    package_map.install()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
