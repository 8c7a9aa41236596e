"""What a motor is: electrical, mechanical and thermal data, each with its source, `None` where nobody published it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from waldo.errors import WaldoError
from waldo.robots.thermal.two_node import ThermalConstants

UNCERTAINTY: Mapping[str, float] = {"assumed": 0.4, "fit": 0.15, "published": 0.1}
"""Basis of a value -> one standard deviation as a share of it: copies of one type differ."""


class UnpublishedError(WaldoError):
    """Something needs a motor value that nobody has published."""

    def __init__(self, motor: str, value: str, needed_for: str) -> None:
        """Take the motor, the missing value and what it is needed for."""
        super().__init__(
            f"{needed_for} needs {value} of {motor}, which is not published; measure it and pass a motor that has it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Motor:
    """One type of motor, gear included: torques, speeds and the torque constant are at the output shaft."""

    name: str
    """Vendor and type."""
    gear_ratio: float | None = None
    """Rotor turns per output turn."""
    torque_constant_nm_per_a: float | None = None
    """Output torque per ampere [N·m/A]."""
    resistance_ohm: float | None = None
    """Winding resistance at 25 °C [Ω]."""
    rated_torque_nm: float | None = None
    """Torque that the motor can hold for ever [N·m]."""
    peak_torque_nm: float | None = None
    """Torque that the motor can reach for seconds (stall torque of a servo) [N·m]."""
    no_load_speed_rad_s: float | None = None
    """Speed without load [rad/s]."""
    voltage_v: float | None = None
    """Nominal supply voltage [V]."""
    gear_efficiency: float | None = None
    """Share of the power that the gear passes on, 0..1."""
    iron_loss_w_per_rad2_s2: float | None = None
    """Loss that turning alone costs, over the output's speed squared [W/(rad/s)²]."""
    winding_limit_c: float | None = None
    """Temperature at which the vendor's protection acts, or the insulation's limit [°C]."""
    thermal: ThermalConstants | None = None
    """The two-node constants."""
    sources: Mapping[str, str] = field(default_factory=lambda: dict[str, str]())
    """Field name -> where its value comes from; "assumed: ..." where a simulation needs one that nobody published."""
    uncertainty: Mapping[str, float] = field(default_factory=lambda: dict[str, float]())
    """Field name -> standard deviation of its value as a share of it, where it is better or worse than UNCERTAINTY."""

    def relative_std(self, name: str) -> float | None:
        """Return how uncertain a value is, one standard deviation as a share of it; None for an unknown value."""
        if getattr(self, name) is None:
            return None
        source = self.sources.get(name, "")
        kind = next((word for word in UNCERTAINTY if source.startswith(word) or f", {word}" in source), "published")
        return self.uncertainty.get(name, UNCERTAINTY[kind])

    def need(self, name: str, needed_for: str) -> float:
        """Return the value of a field, or say who needs what nobody published."""
        value = getattr(self, name)
        if value is None:
            raise UnpublishedError(self.name, name, needed_for)
        return float(value)

    def need_thermal(self, needed_for: str) -> ThermalConstants:
        """Return the two-node constants, or say who needs what nobody published."""
        if self.thermal is None:
            raise UnpublishedError(self.name, "the thermal constants", needed_for)
        return self.thermal
