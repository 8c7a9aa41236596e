"""Array types that every room shares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""An array of float64; the shape and unit are given where it is used."""

type Progress = Callable[[int, int], None]
"""A progress callback: called with the number of finished steps and the total number of steps."""
