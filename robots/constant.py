"""Physical constants with their unit and provenance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from waldo.errors import InvalidValueError

Basis = Literal["published", "measured", "fitted", "assumed"]
"""How a value was obtained.

`published`: stated by the manufacturer or in a publication; `measured`: measured on a specimen; `fitted`: estimated
from data with a model; `assumed`: needed by a simulation, but not known.
"""

BASES: tuple[Basis, ...] = get_args(Basis)

RELATIVE_STD: Mapping[Basis, float] = MappingProxyType(
    {"published": 0.1, "measured": 0.1, "fitted": 0.15, "assumed": 0.4}
)
"""Basis -> relative standard deviation of a value for which none is given: specimens of one type differ."""


@dataclass(frozen=True, slots=True)
class Constant:
    """One physical constant. A value that is not known is represented by None in place of a `Constant`."""

    value: float
    """The value, in `unit`."""
    unit: str
    """SI unit or °C; "1" for a ratio."""
    basis: Basis
    """How the value was obtained."""
    source: str
    """Where the value was published, or the data or reasoning that it rests on."""
    std: float | None = None
    """Standard deviation as a fraction of the value; None for the default of the basis."""

    def __post_init__(self) -> None:
        """Raise unless the value is a positive number with a known basis and a source."""
        if not (math.isfinite(self.value) and self.value > 0):
            raise InvalidValueError("value", self.value, "a number above 0")
        require_basis(self.basis)
        if not self.source:
            raise InvalidValueError("source", self.source, "the origin of the value")
        if self.std is not None and not self.std >= 0:
            raise InvalidValueError("std", self.std, "a fraction of the value, 0 or more")

    @property
    def relative_std(self) -> float:
        """Standard deviation as a fraction of the value."""
        return RELATIVE_STD[self.basis] if self.std is None else self.std


def require_basis(basis: str) -> None:
    """Raise unless `basis` is one of `BASES`.

    Raises:
        InvalidValueError: If the basis is unknown.
    """
    if basis not in BASES:
        raise InvalidValueError("basis", basis, " or ".join((", ".join(BASES[:-1]), BASES[-1])))
