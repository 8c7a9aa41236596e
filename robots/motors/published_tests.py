"""Published heat tests of servos, and their prediction from thermal constants with all uncertainties.

A published test names a load and readings of the servo's own sensor, which is on the drive's board. It states neither
the current nor the air temperature, so both have standard deviations here. `benchmarks/servo_heat.py` fits the
constants of the motor library to these tests, and the tests of the library predict them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.typing import Array

SO_ARM_134 = "https://github.com/TheRobotStudio/SO-ARM100/issues/134"
PHOSPHOBOT_241 = "https://github.com/phospho-app/phosphobot/issues/241"
STS3250_ARTICLE = "https://robonine.com/feetech-sts3250-smart-actuator-evaluation-of-accuracy-torque-and-backlash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of a test with a constant load."""

    seconds: float
    """Duration [s]."""
    loss_w: float | None = None
    """Loss at 25 °C [W]; None for that of the previous phase times `loss_ratio`."""
    loss_ratio: float = 1.0
    """Ratio to the loss of the previous phase, without `loss_w`."""
    loss_std: float = 0.0
    """Standard deviation of the logarithm of the loss or of the ratio: tests state no current."""
    is_copper: bool = True
    """Whether the loss rises with the resistance of the winding; friction and electronics do not."""
    driver_c: float | None = None
    """Published reading at the end of the phase [°C]."""
    reading_std_k: float = 1.5
    """Standard deviation of the reading: rounding, and the time at which it was taken [K]."""
    seconds_std: float = 0.0
    """Standard deviation of the logarithm of the duration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatTest:
    """A published test of one servo."""

    motor: str
    """Short name in the motor library."""
    source: str
    """Address of the publication."""
    description: str
    """Published conditions, and the assumptions about those that are not published."""
    ambient_c: float = 24.0
    """Air temperature [°C]."""
    ambient_std_k: float = 3.0
    """Standard deviation of the air temperature [K]."""
    start_rise_k: float = 0.0
    """Temperature of the servo above the air at the start [K]."""
    start_std_k: float = 0.0
    """Standard deviation of that temperature [K]."""
    phases: tuple[Phase, ...]

    @property
    def readings(self) -> tuple[Phase, ...]:
        """The phases that end with a published reading."""
        return tuple(phase for phase in self.phases if phase.driver_c is not None)

    @property
    def uncertain(self) -> int:
        """Number of standard normal numbers that a prediction takes: air, start, a loss and a duration per phase."""
        return 2 + 2 * len(self.phases)

    def predict(self, model: TwoNodeModel, normal: Array) -> Array:
        """Return the readings of several servos, (draws, readings) [°C].

        Args:
            model: The constants of each draw as those of one motor, (draws,).
            normal: Standard normal numbers that select the unknown conditions, (draws, uncertain).
        """
        air = self.ambient_c + self.ambient_std_k * normal[:, 0]
        start = air + np.maximum(self.start_rise_k + self.start_std_k * normal[:, 1], 0.0)
        state, loss = np.stack([start, start], axis=-1), np.zeros(len(normal))
        out: list[Array] = []
        for phase, by_loss, by_time in zip(self.phases, normal[:, 2::2].T, normal[:, 3::2].T, strict=True):
            factor = np.exp(phase.loss_std * by_loss)
            loss = loss * phase.loss_ratio * factor if phase.loss_w is None else phase.loss_w * factor
            zero = np.zeros_like(loss)
            load = Load(loss, zero) if phase.is_copper else Load(zero, loss)
            state = model.step(state, load, air, phase.seconds * np.exp(phase.seconds_std * by_time))
            if phase.driver_c is not None:
                out.append(model.driver_c(state))
        return np.stack(out, axis=-1)


def draw(constants: ThermalConstants, count: int, rng: np.random.Generator) -> TwoNodeModel:
    """Return the constants of several servos of one type, drawn with their standard deviations."""
    known = list(constants.constants().values())[:4]
    values = [c.value * np.exp(c.relative_std * rng.normal(size=count)) for c in known]
    model = TwoNodeModel.from_arrays(*values)
    ratio = constants.driver_sensor_ratio + constants.driver_sensor_std * rng.normal(size=count)
    model.driver_sensor_ratio = np.clip(ratio, 0.0, 1.0)
    return model


def predicted(test: HeatTest, constants: ThermalConstants, count: int = 4000, seed: int = 0) -> tuple[Array, Array]:
    """Return the readings of a test that the constants predict, (readings,) [°C], and their standard deviations [K].

    They contain the uncertainty of the constants, of the conditions of the test and of the readings.
    """
    rng = np.random.default_rng(seed)
    values = test.predict(draw(constants, count, rng), rng.normal(size=(count, test.uncertain)))
    own = np.array([phase.reading_std_k for phase in test.readings])
    low, middle, high = np.quantile(values, [0.16, 0.5, 0.84], axis=0)
    return middle, np.hypot((high - low) / 2, own)


HELD_THEN_SWUNG = HeatTest(
    motor="sts3215-12v",
    source=SO_ARM_134,
    description="1 kg on 15 cm, arm sideways: 48 °C after 10 min, constant for more than an hour. Then ±90° without "
    "a pause: 60 °C after 50 min, constant for 20 min, 71 °C after about 110 min. Holding: the current "
    "is 1.47 N·m / 2.38 N·m/A; friction of the gear carries up to half of the torque or adds to it. "
    "Swinging: the load is not published; 3 W are somewhat more than the no-load input of 12 V x 0.18 "
    "A. A constant load does not produce a plateau and a second rise, so the heat may grow in the last "
    "phase",
    phases=(
        Phase(seconds=600, loss_w=1.69, loss_std=0.65, driver_c=48.0),
        Phase(seconds=3600, driver_c=48.0, reading_std_k=1.0),
        Phase(seconds=3000, loss_w=3.0, loss_std=0.6, is_copper=False, driver_c=60.0),
        Phase(seconds=1200, is_copper=False, driver_c=60.0),
        Phase(seconds=2400, loss_ratio=1.2, loss_std=0.25, is_copper=False, driver_c=71.0),
    ),
)
LIFTED = HeatTest(
    motor="sts3215-12v",
    source=SO_ARM_134,
    description="1.5 kg on 10 cm, lifted: 15 K warmer after 10 min (only the rise is published). The fraction of time "
    "under load is not published",
    ambient_std_k=0.0,
    phases=(Phase(seconds=600, loss_w=1.4, loss_std=0.9, driver_c=39.0, reading_std_k=2.0),),
)
GRIPPED = HeatTest(
    motor="sts3215-7v",
    source=PHOSPHOBOT_241,
    description="gripper of an SO-101 that holds a light object: 50 °C after 30 s to a minute. Neither the current nor "
    "the temperature before is published: 6 W are 54 % PWM at 7.4 V and 2.68 Ω; the arm was in use before",
    ambient_c=25.0,
    start_rise_k=6.0,
    start_std_k=4.0,
    phases=(Phase(seconds=42, seconds_std=0.35, loss_w=6.0, loss_std=0.5, driver_c=50.0, reading_std_k=3.0),),
)
STS3250_LIFTED = HeatTest(
    motor="sts3250-12v",
    source=STS3250_ARTICLE,
    description="2 kg on 100 mm at 12 V, near the limit of the motor: from 40 to 70 °C within 8 min. 5.4 W are those "
    "of 1.96 N·m / 1.43 N·m/A held",
    ambient_std_k=2.0,
    start_rise_k=16.0,
    start_std_k=1.5,
    phases=(Phase(seconds=480, loss_w=5.4, loss_std=0.5, driver_c=70.0),),
)

HEAT_TESTS: Mapping[str, HeatTest] = {
    "held, then swung": HELD_THEN_SWUNG,
    "lifted": LIFTED,
    "gripped": GRIPPED,
    "STS3250 lifted": STS3250_LIFTED,
}
"""Name -> test."""
