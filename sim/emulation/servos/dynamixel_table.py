"""The control table of emulated Dynamixel X servos: registers with their ranges, and what differs between models.

Source: ROBOTIS e-Manual, control tables of the XL330, XL430, XM430 and XM540 (https://emanual.robotis.com/docs/en/dxl/x/).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from waldo.sim.emulation.servos.servo import Servo

CURRENT_MODE, VELOCITY_MODE, POSITION_MODE, EXTENDED_MODE, CURRENT_POSITION_MODE, PWM_MODE = 0, 1, 3, 4, 5, 16
"""Values of register 11."""
ALL_MODES = (CURRENT_MODE, VELOCITY_MODE, POSITION_MODE, EXTENDED_MODE, CURRENT_POSITION_MODE, PWM_MODE)
RANGE_ERROR, LENGTH_ERROR, LIMIT_ERROR, ACCESS_ERROR = 4, 5, 6, 7
"""Error numbers of a status frame."""
EEPROM_SIZE = 64
"""Size of the persistent part, from address 0 [bytes]."""
GOALS = (100, 102, 104, 116)
"""Addresses of the goals: PWM, current, velocity, position."""
MULTI_TURN_LIMIT = 1_048_575
"""Largest goal of the multi-turn modes [counts]."""


class Item(NamedTuple):
    """One register."""

    size: int
    """[bytes]."""
    writable: bool = False
    lower: int = 0
    """Smallest value; a negative one makes the register signed."""
    upper: int = 0
    """Largest value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What differs between the models."""

    number: int
    """Model number (0)."""
    milliamperes: float | None
    """Unit of the current (126) [mA]; None: the register contains the load [0.1 %]."""
    current_limit: int
    """Current limit (38), in that unit; 0 if the model controls no current."""
    velocity_limit: int
    """Velocity limit (44) [0.229 rpm]."""
    temperature_limit: int
    """Temperature limit (31) [°C]."""
    voltages: tuple[int, int]
    """Voltage limits (34, 32) [0.1 V]."""
    gains: tuple[int, int, int, int]
    """Gains: velocity I (76), velocity P (78), position D (80), position P (84)."""
    shutdown: int = 52
    """Errors (70) that disable the torque (63)."""
    pwm_slope: int = 0
    """PWM slope (62) [1.977 mV/ms]; 0 if the model has no such register."""
    modes: tuple[int, ...] = ALL_MODES
    """Operating modes (11)."""
    indirect: tuple[tuple[int, int, int], ...] = ((168, 224, 28), (578, 634, 28))
    """Indirect addresses: first address, first data, number."""

    @property
    def size(self) -> int:
        """Size of the control table [bytes]."""
        _, data, number = self.indirect[-1]
        return data + number


_XL330 = {
    "milliamperes": 1.0,
    "current_limit": 1750,
    "temperature_limit": 70,
    "voltages": (35, 70),
    "gains": (1600, 180, 0, 400),
    "shutdown": 53,
    "pwm_slope": 140,
    "indirect": ((168, 208, 20),),
}

MODELS: Mapping[str, Model] = {
    "xl330-m077": Model(number=1190, velocity_limit=1620, **_XL330),
    "xl330-m288": Model(number=1200, velocity_limit=445, **_XL330),
    "xl430-w250": Model(
        number=1060,
        milliamperes=None,
        current_limit=0,
        velocity_limit=265,
        temperature_limit=72,
        voltages=(60, 140),
        gains=(1000, 100, 4000, 640),
        modes=(VELOCITY_MODE, POSITION_MODE, EXTENDED_MODE, PWM_MODE),
    ),
    "xm430-w350": Model(
        number=1020,
        milliamperes=2.69,
        current_limit=1193,
        velocity_limit=200,
        temperature_limit=80,
        voltages=(95, 160),
        gains=(1920, 100, 0, 800),
    ),
    "xm540-w270": Model(
        number=1120,
        milliamperes=2.69,
        current_limit=2047,
        velocity_limit=128,
        temperature_limit=80,
        voltages=(100, 148),
        gains=(1920, 100, 0, 800),
    ),
}
"""Name of a servo -> model."""


def table_of(model: Model) -> dict[int, Item]:
    """Return the registers of a model: address -> register."""
    low, high = min(model.voltages[0], 31), max(model.voltages[1], 160)
    table = {
        0: Item(2), 2: Item(4), 6: Item(1), 7: Item(1, True, 0, 252), 8: Item(1, True, 0, 7), 9: Item(1, True, 0, 254),
        10: Item(1, True, 0, 13), 11: Item(1, True, 0, 16), 12: Item(1, True, 0, 255), 13: Item(1, True, 1, 22),
        20: Item(4, True, -1_044_479, 1_044_479), 24: Item(4, True, 0, 1023), 31: Item(1, True, 0, 100),
        32: Item(2, True, low, high), 34: Item(2, True, low, high), 36: Item(2, True, 0, 885),
        44: Item(4, True, 0, 2047), 48: Item(4, True, 0, 4095), 52: Item(4, True, 0, 4095), 60: Item(1, True, 0, 3),
        63: Item(1, True, 0, 255), 64: Item(1, True, 0, 1), 65: Item(1, True, 0, 1), 68: Item(1, True, 0, 2),
        69: Item(1), 70: Item(1), 76: Item(2, True, 0, 16383), 78: Item(2, True, 0, 16383),
        80: Item(2, True, 0, 16383), 82: Item(2, True, 0, 16383), 84: Item(2, True, 0, 16383),
        88: Item(2, True, 0, 16383), 90: Item(2, True, 0, 16383), 98: Item(1, True, 0, 127),
        100: Item(2, True, -885, 885), 104: Item(4, True, -2047, 2047), 108: Item(4, True, 0, 32767),
        112: Item(4, True, 0, 32767), 116: Item(4, True, -MULTI_TURN_LIMIT, MULTI_TURN_LIMIT), 120: Item(2),
        122: Item(1), 123: Item(1), 124: Item(2), 126: Item(2), 128: Item(4), 132: Item(4), 136: Item(4), 140: Item(4),
        144: Item(2), 146: Item(1), 147: Item(1),
    }  # fmt: skip
    if model.current_limit:
        table[38] = Item(2, True, 0, model.current_limit)
        table[102] = Item(2, True, -model.current_limit, model.current_limit)
    if model.pwm_slope:
        table[62] = Item(1, True, 1, 255)
    for address, data, number in model.indirect:
        table |= {address + 2 * k: Item(2, True, EEPROM_SIZE, model.size - 1) for k in range(number)}
        table |= {data + k: Item(1, True, 0, 255) for k in range(number)}
    return table


def factory_values(model: Model, volts: float) -> dict[int, int]:
    """Return the factory settings of a model: address -> value.

    Args:
        model: The model.
        volts: Supply voltage of the arm [V]; the voltage limits are widened to include it.
    """
    low, high = min(model.voltages[0], round(8 * volts)), max(model.voltages[1], round(12 * volts))
    return {
        0: model.number, 6: 48, 7: 1, 8: 1, 9: 250, 11: POSITION_MODE, 12: 255, 13: 2, 24: 10,
        31: model.temperature_limit, 32: high, 34: low, 36: 885, 38: model.current_limit, 44: model.velocity_limit,
        48: 4095, 62: model.pwm_slope, 63: model.shutdown,
    }  # fmt: skip


def volatile_values(model: Model, servo: Servo) -> dict[int, int]:
    """Return the volatile registers after power-on: address -> value."""
    velocity_i, velocity_p, position_d, position_p = model.gains
    values = {68: 2, 76: velocity_i, 78: velocity_p, 80: position_d, 84: position_p, 147: 1}
    for address, data, number in model.indirect:
        values |= {address + 2 * k: data + k for k in range(number)}
    return values | mode_values(servo)


def mode_values(servo: Servo) -> dict[int, int]:
    """Return the registers that a change of the operating mode resets: address -> value."""
    return {100: servo.get(36, 2), 102: servo.get(38, 2), 104: 0, 108: 0, 112: 0}


def check_write(model: Model, table: Mapping[int, Item], servo: Servo, address: int, data: bytes) -> int:
    """Return the error number of a write to a servo's registers; 0 if it is allowed."""
    end = address + len(data)
    while address < end:
        item = table.get(address)
        if item is None or not item.writable or (address < EEPROM_SIZE and servo.memory[64]):
            return ACCESS_ERROR
        if end - address < item.size:
            return LENGTH_ERROR
        value = int.from_bytes(data[: item.size], "little", signed=item.lower < 0)
        if not item.lower <= value <= item.upper or (address == 11 and value not in model.modes):
            return RANGE_ERROR
        # After the bus watchdog has stopped a servo, its goals are read-only.
        if address in GOALS and servo.memory[98] == 0xFF:
            return RANGE_ERROR
        lower, upper = _limits(servo, address, item)
        if not lower <= value <= upper:
            return LIMIT_ERROR
        data, address = data[item.size :], address + item.size
    return 0


def _limits(servo: Servo, address: int, item: Item) -> tuple[int, int]:
    """Return the smallest and largest value that the limit registers allow."""
    if address in (100, 102):
        limit = servo.get(address - 64, 2)
        return -limit, limit
    if address == 104:
        return -servo.get(44, 4), servo.get(44, 4)
    if address == 116 and servo.memory[11] == POSITION_MODE:
        return servo.signed(52, 4), servo.signed(48, 4)
    return item.lower, item.upper
