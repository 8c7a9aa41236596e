"""Array types that every room shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""An array of float64; the shape and unit are given where it is used."""
