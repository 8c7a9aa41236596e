"""What a motor is: electrical, mechanical and thermal data, each with its source, `None` where nobody published it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from waldo.errors import WaldoError
from waldo.robots.heat import ThermalConstants


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
    winding_limit_c: float | None = None
    """Temperature at which the vendor's protection acts, or the insulation's limit [°C]."""
    thermal: ThermalConstants | None = None
    """The two-node constants."""
    sources: Mapping[str, str] = field(default_factory=lambda: dict[str, str]())
    """Field name -> where its value comes from; "assumed: ..." where a simulation needs one that nobody published."""

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
