"""Operating modes, motion profiles, bus watchdog and protections of emulated Dynamixel X servos.

Source: ROBOTIS e-Manual, control table of the X series (https://emanual.robotis.com/docs/en/dxl/x/): Operating Mode
(11), Profile Velocity (112), Bus Watchdog (98), Homing Offset (20), Shutdown (63).
"""

from __future__ import annotations

import numpy as np

from waldo.sim.emulation.drives import Aim, Law, Motion
from waldo.sim.emulation.motion_profile import UNLIMITED
from waldo.sim.emulation.servo_bus import TURN, SerialServos
from waldo.sim.emulation.servos.dynamixel_table import (
    CURRENT_MODE,
    CURRENT_POSITION_MODE,
    EXTENDED_MODE,
    POSITION_MODE,
    PWM_MODE,
    VELOCITY_MODE,
    Model,
)
from waldo.sim.emulation.servos.servo import Servo

POSITION_MODES = (POSITION_MODE, EXTENDED_MODE, CURRENT_POSITION_MODE)
REVERSE, TIME_BASED, TORQUE_ON_BY_GOAL = 0x01, 0x04, 0x08
"""Bits of register 10 (drive mode)."""
VELOCITY = 0.229 / 60 * TURN
"""Unit of velocities [counts/s]."""
ACCELERATION = 214.577 / 3600 * TURN
"""Unit of accelerations [counts/s²]."""
FULL_PWM = 885
"""Duty cycle of 100 %."""
LARGEST_OFFSET = 1024
"""Largest homing offset that the position mode accepts [counts]."""
WATCHDOG_S, WATCHDOG_ERROR = 0.02, 0xFF
"""Unit of the bus watchdog (98) [s], and its value after it has stopped the servo."""
VOLTAGE, OVERHEATED, OVERLOAD = 0x01, 0x04, 0x20
"""Bits of the hardware error status (70)."""
OVERLOAD_RATIO, OVERLOAD_S = 0.95, 2.0
"""Fraction of the stall torque, and the time after which it is an overload [s]. Assumed: they are not published."""


class DynamixelDrives(SerialServos):
    """The drives of Dynamixel X servos."""

    models: list[Model]
    """Model of each servo."""
    quiet_s = 0.0
    """Time since the last instruction [s]."""

    def homing_offset(self, servo: Servo) -> int:
        """Return the homing offset (20) [counts]; in position mode (3), offsets beyond 1,024 are ignored."""
        offset = servo.signed(20, 4)
        return 0 if servo.memory[11] == POSITION_MODE and abs(offset) > LARGEST_OFFSET else offset

    def sign(self, servo: Servo) -> int:
        """Return -1 if the drive mode (10) reverses the direction, else 1."""
        return -1 if servo.memory[10] & REVERSE else 1

    def offset(self, joint: int) -> int:
        """Return the difference between a servo's position and its encoder, in its own direction [counts]."""
        servo = self.servos[joint]
        turns = self.whole_turns(joint) if servo.memory[11] == POSITION_MODE else servo.turns
        return self.homing_offset(servo) - turns

    def whole_turns(self, joint: int) -> int:
        """Return the whole turns of a servo's encoder, in its own direction [counts]."""
        return int(self.sign(self.servos[joint]) * float(self.actual_counts()[joint]) // TURN) * TURN

    def position_of(self, joint: int, actual: float) -> float:
        """Return the position that a servo reports for an encoder position [counts]."""
        return self.sign(self.servos[joint]) * actual + self.offset(joint)

    def actual_of(self, joint: int, position: float) -> float:
        """Return the encoder position of a position that a servo reports; the inverse of `position_of` [counts]."""
        return self.sign(self.servos[joint]) * (position - self.offset(joint))

    def start_motion(self, joint: int) -> None:
        """Begin the motion to a goal that was written: velocity and acceleration of a time-based profile."""
        servo = self.servos[joint]
        servo.timed = None
        if not servo.memory[10] & TIME_BASED or not servo.get(112, 4) or servo.memory[11] not in POSITION_MODES:
            return
        total_s = servo.get(112, 4) / 1000
        ramp_s = min(servo.get(108, 4) / 1000, total_s / 2)
        goal = self.actual_of(joint, servo.signed(116, 4))
        velocity = abs(goal - float(self.paths.position[joint])) / (total_s - ramp_s)
        servo.timed = (velocity, velocity / ramp_s if ramp_s else UNLIMITED)

    def is_on(self, joint: int) -> bool:
        """Return whether the torque is enabled (64)."""
        return self.servos[joint].memory[64] == 1

    def aim(self, joint: int) -> Aim:
        """Return the goal and the profile of the operating mode (11)."""
        servo = self.servos[joint]
        mode = servo.memory[11]
        if not self.is_on(joint) or mode in (CURRENT_MODE, PWM_MODE):
            return Aim(Motion.FREE)
        if mode == VELOCITY_MODE:
            velocity = servo.signed(104, 4) * VELOCITY * self.sign(servo)
            acceleration = servo.get(108, 4) * ACCELERATION or UNLIMITED
            if servo.memory[10] & TIME_BASED and servo.get(108, 4):
                acceleration = max(abs(velocity), VELOCITY) / servo.get(108, 4) * 1000
            return Aim(Motion.TURN, 0.0, velocity, acceleration)
        goal = self.actual_of(joint, servo.signed(116, 4))
        if servo.timed is not None:
            return Aim(Motion.APPROACH, goal, *servo.timed)
        # Without a profile velocity there is no profile, whatever the acceleration; times are those of a new goal.
        velocity = 0 if servo.memory[10] & TIME_BASED else servo.get(112, 4)
        acceleration = servo.get(108, 4) if velocity else 0
        return Aim(Motion.APPROACH, goal, velocity * VELOCITY or UNLIMITED, acceleration * ACCELERATION or UNLIMITED)

    def law(self, joint: int) -> Law:
        """Return the control law of the operating mode (11), within the PWM (100, 36) and the current (102)."""
        servo, model = self.servos[joint], self.models[joint]
        if not self.is_on(joint):
            return Law()
        mode, pwm = servo.memory[11], servo.signed(100, 2)
        if mode == PWM_MODE:
            return self.drive(joint, self.sign(servo) * pwm / FULL_PWM, 1.0)
        constant = float(self.joints.torque_constant[joint])
        torque = servo.signed(102, 2) * (model.milliamperes or 0.0) / 1000 * constant
        if mode == CURRENT_MODE:
            return Law(torque=self.sign(servo) * float(self.directions[joint]) * torque)
        limit = min(abs(pwm), servo.get(36, 2)) / FULL_PWM
        if mode == CURRENT_POSITION_MODE:
            limit = min(limit, abs(torque) / float(self._peak[joint]))
        return self.hold(joint, limit, servo.get(84, 2) / model.gains[3] if mode in POSITION_MODES else 1.0)

    def protect(self, seconds: float) -> None:
        """Detect wrong voltages, heat and overload; those in the shutdown register (63) disable the torque.

        Only a reboot clears them. The bus watchdog (98) stops a servo without instructions.
        """
        self.quiet_s += seconds
        _, _, volts = self.electrical()
        efforts = np.abs(self.joints.effort) / self._peak
        for i, servo in enumerate(self.servos):
            servo.overloaded_s = servo.overloaded_s + seconds if efforts[i] > OVERLOAD_RATIO else 0.0
            servo.fault |= 0 if servo.get(34, 2) <= round(volts[i] * 10) <= servo.get(32, 2) else VOLTAGE
            servo.fault |= OVERHEATED if self.joints.driver_c[i] >= servo.memory[31] else 0
            servo.fault |= OVERLOAD if servo.overloaded_s > OVERLOAD_S else 0
            if servo.fault & servo.memory[63]:
                servo.memory[64] = 0
            if self.is_on(i) and 0 < servo.memory[98] < 128 and self.quiet_s > servo.memory[98] * WATCHDOG_S:
                self._stop(i)

    def _stop(self, joint: int) -> None:
        """Stop a servo after the timeout of the bus watchdog."""
        servo = self.servos[joint]
        servo.timed = None
        for address in (104, 108, 112):
            servo.put(address, 4, 0)
        servo.put(116, 4, round(self.position_of(joint, float(self.paths.position[joint]))))
        if servo.memory[11] in (CURRENT_MODE, PWM_MODE):
            servo.put(100 if servo.memory[11] == PWM_MODE else 102, 2, 0)
        servo.memory[98] = WATCHDOG_ERROR

    def refresh(self) -> None:
        """Write 69, 70 and 120 to 146: flags, PWM, current, velocity, position, trajectory, voltage, temperature."""
        current, duty, volts = self.electrical()
        actual, speeds = self.actual_counts(), self.speeds()
        for i, servo in enumerate(self.servos):
            sign, unit = self.sign(servo), self.models[i].milliamperes
            amperes = duty[i] * 1000 if unit is None else current[i] * 1000 / unit
            is_moving = abs(speeds[i]) > servo.get(24, 4) * VELOCITY
            arrived = not self.paths.velocity[i]
            servo.put(69, 1, int(servo.waiting is not None))
            servo.put(70, 1, servo.fault)
            servo.put(122, 1, int(is_moving))
            servo.put(123, 1, int(arrived))
            servo.put(124, 2, sign * round(float(duty[i]) * FULL_PWM))
            servo.put(126, 2, sign * round(float(amperes)))
            servo.put(128, 4, sign * round(float(speeds[i] / VELOCITY)))
            servo.put(132, 4, round(self.position_of(i, float(actual[i]))))
            servo.put(136, 4, sign * round(float(self.paths.velocity[i] / VELOCITY)))
            servo.put(140, 4, round(self.position_of(i, float(self.paths.position[i]))))
            servo.put(144, 2, round(float(volts[i]) * 10))
            servo.put(146, 1, round(float(self.joints.driver_c[i])))
