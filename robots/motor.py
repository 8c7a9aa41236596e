"""Motor types: electrical, mechanical and thermal constants, each with its basis and source."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from waldo.errors import InvalidValueError, WaldoError
from waldo.robots.constant import Basis, Constant, require_basis


class UnpublishedError(WaldoError):
    """A motor constant that a computation needs and that is not known."""

    def __init__(self, motor: str, value: str, needed_for: str) -> None:
        """Build the message from the motor, the missing constant and the computation that needs it."""
        super().__init__(
            f"{needed_for} needs {value} of {motor}, which is not published; measure it and pass a motor that has it"
        )


THERMAL_UNITS: Mapping[str, str] = MappingProxyType(
    {
        "winding_j_per_k": "J/K",
        "housing_j_per_k": "J/K",
        "winding_to_housing_k_per_w": "K/W",
        "housing_to_ambient_k_per_w": "K/W",
    }
)
"""Field of `ThermalConstants` -> unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalConstants:
    """The constants of a motor's two-node thermal model. They are obtained together: one basis, one source."""

    winding_j_per_k: float
    """Heat capacity of the winding C_w [J/K]."""
    housing_j_per_k: float
    """Heat capacity of the housing C_h [J/K]."""
    winding_to_housing_k_per_w: float
    """Thermal resistance from winding to housing R_1 [K/W]."""
    housing_to_ambient_k_per_w: float
    """Thermal resistance from housing to ambient R_2 [K/W]."""
    basis: Basis
    """How the values were obtained."""
    source: str
    """Where the values were published, or the data or reasoning that they rest on."""
    driver_sensor_ratio: float = 0.0
    """Where the temperature sensor on the drive's board is, from the housing (0) to the winding (1): it measures
    T_h + ratio (T_w - T_h)."""
    driver_sensor_std: float = 0.0
    """Standard deviation of `driver_sensor_ratio`."""
    std: tuple[float, float, float, float] | None = None
    """Standard deviations of the four constants as fractions of their values, in the order of the fields; None for the
    default of the basis."""

    def __post_init__(self) -> None:
        """Raise unless the four constants are positive, the sensor is inside the motor and the basis is known."""
        for name in THERMAL_UNITS:
            if not getattr(self, name) > 0:
                raise InvalidValueError(name, getattr(self, name), "a number above 0")
        if not 0 <= self.driver_sensor_ratio <= 1:
            raise InvalidValueError("driver_sensor_ratio", self.driver_sensor_ratio, "0 to 1")
        require_basis(self.basis)

    @property
    def total_k_per_w(self) -> float:
        """Thermal resistance from winding to ambient R_1 + R_2 [K/W]."""
        return self.winding_to_housing_k_per_w + self.housing_to_ambient_k_per_w

    def constants(self) -> dict[str, Constant]:
        """Return field name -> constant with its unit, basis, source and uncertainty."""
        std = self.std or (None,) * len(THERMAL_UNITS)
        found = {
            name: Constant(getattr(self, name), unit, self.basis, self.source, one)
            for (name, unit), one in zip(THERMAL_UNITS.items(), std, strict=True)
        }
        ratio = self.driver_sensor_ratio
        if ratio > 0:
            relative = self.driver_sensor_std / ratio
            found["driver_sensor_ratio"] = Constant(ratio, "1", self.basis, self.source, relative)
        return found


UNITS: Mapping[str, str] = MappingProxyType(
    {
        "gear_ratio": "1",
        "torque_constant": "N·m/A",
        "resistance": "Ω",
        "rated_torque": "N·m",
        "peak_torque": "N·m",
        "no_load_speed": "rad/s",
        "voltage": "V",
        "gear_efficiency": "1",
        "iron_loss": "W/(rad/s)²",
        "winding_limit": "°C",
    }
)
"""Constant of a `Motor` -> unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Motor:
    """One type of motor, gear included: torques, speeds and the torque constant are at the output shaft.

    A constant that is not published is None. Computations read the plain numbers: `torque_constant_nm_per_a` and the
    other properties that end in a unit.
    """

    name: str
    """Manufacturer and type."""
    gear_ratio: Constant | None = None
    """Rotor turns per output turn."""
    torque_constant: Constant | None = None
    """Output torque per ampere [N·m/A]."""
    resistance: Constant | None = None
    """Winding resistance at 25 °C [Ω]."""
    rated_torque: Constant | None = None
    """Torque that the motor can hold continuously [N·m]."""
    peak_torque: Constant | None = None
    """Torque that the motor can reach for seconds (stall torque of a servo) [N·m]."""
    no_load_speed: Constant | None = None
    """Speed without load [rad/s]."""
    voltage: Constant | None = None
    """Nominal supply voltage [V]."""
    gear_efficiency: Constant | None = None
    """Fraction of the power that the gear transmits, 0 to 1."""
    iron_loss: Constant | None = None
    """Speed-dependent loss divided by the squared output speed [W/(rad/s)²]."""
    winding_limit: Constant | None = None
    """Temperature at which the motor's own protection acts, or the limit of the insulation [°C]."""
    thermal: ThermalConstants | None = None
    """Constants of the two-node thermal model."""
    count: int = 1
    """Number of equal motors that drive the joint together; the constants are those of all of them."""

    def __post_init__(self) -> None:
        """Raise unless every constant has the unit of its field."""
        for name, constant in self.constants().items():
            if constant is not None and constant.unit != UNITS[name]:
                raise InvalidValueError(f"unit of {name}", constant.unit, UNITS[name])

    def constants(self) -> dict[str, Constant | None]:
        """Return name -> constant, without the thermal model; None where a constant is not published."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in UNITS}

    @property
    def torque_constant_nm_per_a(self) -> float | None:
        """Output torque per ampere [N·m/A]."""
        return _value(self.torque_constant)

    @property
    def resistance_ohm(self) -> float | None:
        """Winding resistance at 25 °C [Ω]."""
        return _value(self.resistance)

    @property
    def rated_torque_nm(self) -> float | None:
        """Torque that the motor can hold continuously [N·m]."""
        return _value(self.rated_torque)

    @property
    def peak_torque_nm(self) -> float | None:
        """Torque that the motor can reach for seconds [N·m]."""
        return _value(self.peak_torque)

    @property
    def no_load_speed_rad_s(self) -> float | None:
        """Speed without load [rad/s]."""
        return _value(self.no_load_speed)

    @property
    def voltage_v(self) -> float | None:
        """Nominal supply voltage [V]."""
        return _value(self.voltage)

    @property
    def efficiency_ratio(self) -> float | None:
        """Fraction of the power that the gear transmits, 0 to 1."""
        return _value(self.gear_efficiency)

    @property
    def iron_loss_w_per_rad2_s2(self) -> float | None:
        """Speed-dependent loss divided by the squared output speed [W/(rad/s)²]."""
        return _value(self.iron_loss)

    @property
    def winding_limit_c(self) -> float | None:
        """Temperature limit of the winding [°C]."""
        return _value(self.winding_limit)

    def need(self, name: str, needed_for: str) -> float:
        """Return one of the numbers above, such as "resistance_ohm".

        Raises:
            UnpublishedError: If the constant is not known; the message names `needed_for`.
        """
        value = getattr(self, name)
        if value is None:
            raise UnpublishedError(self.name, name, needed_for)
        return float(value)

    def need_thermal(self, needed_for: str) -> ThermalConstants:
        """Return the constants of the two-node model.

        Raises:
            UnpublishedError: If they are not known; the message names `needed_for`.
        """
        if self.thermal is None:
            raise UnpublishedError(self.name, "the thermal constants", needed_for)
        return self.thermal


def in_parallel(motor: Motor, count: int) -> Motor:
    """Return a number of equal motors that drive a joint together, as one motor; 1 for one of them.

    They share the torque: at the same torque constant their currents add up, so that two windings with half of the
    current each have the losses of one with half the resistance.
    """
    factor, thermal = count / motor.count, motor.thermal
    if thermal is not None:
        thermal = dataclasses.replace(
            thermal,
            winding_j_per_k=thermal.winding_j_per_k * factor,
            housing_j_per_k=thermal.housing_j_per_k * factor,
            winding_to_housing_k_per_w=thermal.winding_to_housing_k_per_w / factor,
            housing_to_ambient_k_per_w=thermal.housing_to_ambient_k_per_w / factor,
        )
    name = motor.name.removeprefix(f"{motor.count} x ")
    return dataclasses.replace(
        motor,
        name=name if count == 1 else f"{count} x {name}",
        resistance=_scaled(motor.resistance, 1 / factor),
        rated_torque=_scaled(motor.rated_torque, factor),
        peak_torque=_scaled(motor.peak_torque, factor),
        iron_loss=_scaled(motor.iron_loss, factor),
        thermal=thermal,
        count=count,
    )


def _scaled(constant: Constant | None, factor: float) -> Constant | None:
    return None if constant is None else dataclasses.replace(constant, value=constant.value * factor)


def _value(constant: Constant | None) -> float | None:
    return None if constant is None else constant.value
