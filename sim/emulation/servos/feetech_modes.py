"""Operating modes, motion and protections of emulated Feetech STS servos.

Registers and units: Feetech's "STS/SMS memory table". What it leaves open was measured on an STS3215 with firmware 3.10
by servolab 1.0.0 (units.py, motor.py): in the speed and PWM modes, the position is that of the encoder, without the
homing offset; a positive PWM turns the servo towards smaller positions; and a goal time overrides the goal speed.
"""

from __future__ import annotations

import numpy as np

from waldo.sim.emulation.drives import Aim, Law, Motion
from waldo.sim.emulation.motion_profile import UNLIMITED
from waldo.sim.emulation.servo_bus import TURN, SerialServos
from waldo.sim.emulation.servos.servo import Servo

POSITION_MODE, SPEED_MODE, PWM_MODE, STEP_MODE = 0, 1, 2, 3
"""Values of register 33."""
DAMPING = 2
"""Value of register 40: the servo resists motion."""
SPEED_0_IS_LARGEST, FINE_SPEED, MULTI_TURN = 0x08, 0x04, 0x10
"""Bits of register 18 (phase)."""
COARSE_SPEED = 50
"""Unit of the speed without FINE_SPEED [counts/s]: 0.732 rpm."""
ACCELERATION = 100
"""Unit of the acceleration [counts/s²]."""
VOLTAGE, OVERHEATED, OVER_CURRENT, OVERLOAD = 0x01, 0x04, 0x08, 0x20
"""Bits of the status, and of register 19 (which of them disable or reduce the torque)."""
AMPERES = 0.0065
"""Unit of the current [A]."""
MODEL_GAIN = 16
"""P gain (21) that corresponds to the stiffness of the model."""
MOVING = 20
"""Speed at which a servo counts as moving [counts/s]."""


class FeetechDrives(SerialServos):
    """The drives of STS servos."""

    def homing_offset(self, servo: Servo) -> int:
        """Return the homing offset (31) [counts]; it has no effect in the speed and PWM modes."""
        return 0 if servo.memory[33] in (SPEED_MODE, PWM_MODE) else servo.magnitude(31, 11)

    def multi_turn(self, servo: Servo) -> bool:
        """Return whether positions accumulate over several turns: phase (18), or both limits (9, 11) are 0."""
        return bool(servo.memory[18] & MULTI_TURN) or not (servo.get(9, 2) or servo.get(11, 2))

    def present(self, joint: int) -> int:
        """Return the position that a servo reports [counts]."""
        servo = self.servos[joint]
        position = round(float(self.actual_counts()[joint])) - self.homing_offset(servo)
        return position if self.multi_turn(servo) else position % TURN

    def goal(self, joint: int) -> float:
        """Return the goal (42) of the position mode, within its limits, in encoder counts."""
        servo = self.servos[joint]
        goal, offset = servo.magnitude(42, 15), self.homing_offset(servo)
        if self.multi_turn(servo):
            return goal + offset
        goal = min(max(goal, servo.get(9, 2)), servo.get(11, 2))
        # The encoder measures within one turn: a servo never moves across the step from 4095 to 0.
        return goal + float(self.actual_counts()[joint]) - self.present(joint)

    def steps(self, joint: int) -> float:
        """Return the goal of the step mode, in encoder counts: the present setpoint before steps are written."""
        goal = self.servos[joint].step_goal
        return float(self.paths.position[joint]) if goal is None else goal

    def start_motion(self, joint: int) -> None:
        """Begin the motion to a goal that was written: its duration (44) [ms], or the steps of the step mode."""
        servo = self.servos[joint]
        servo.timed = None
        if servo.memory[33] == STEP_MODE:
            servo.step_goal = self.steps(joint) + servo.magnitude(42, 15)
        elif servo.memory[33] == POSITION_MODE and (duration_ms := servo.get(44, 2)):
            distance = abs(self.goal(joint) - float(self.paths.position[joint]))
            servo.timed = (distance / duration_ms * 1000, UNLIMITED)

    def is_on(self, joint: int) -> bool:
        """Return whether the torque is enabled (40), and no fault that disables it (19) is active."""
        servo = self.servos[joint]
        disabling = servo.fault & servo.memory[19] & ~OVERLOAD
        return servo.memory[40] in (1, DAMPING) and not disabling

    def aim(self, joint: int) -> Aim:
        """Return the goal, speed (46) and acceleration (41) of the operating mode (33)."""
        servo = self.servos[joint]
        mode = servo.memory[33]
        if not self.is_on(joint) or servo.memory[40] == DAMPING or mode not in (POSITION_MODE, SPEED_MODE, STEP_MODE):
            servo.step_goal = None
            return Aim(Motion.FREE)
        phase, speed = servo.memory[18], float(servo.magnitude(46, 15))
        speed *= 1 if phase & FINE_SPEED else COARSE_SPEED
        acceleration = servo.memory[41] * ACCELERATION or UNLIMITED
        if mode == SPEED_MODE:
            return Aim(Motion.TURN, 0.0, speed, acceleration)
        if servo.timed is not None and mode == POSITION_MODE:
            speed, acceleration = servo.timed
        elif speed == 0:
            speed = UNLIMITED if phase & SPEED_0_IS_LARGEST else 0.0
        goal = self.goal(joint) if mode == POSITION_MODE else self.steps(joint)
        return Aim(Motion.APPROACH, goal, abs(speed), acceleration)

    def law(self, joint: int) -> Law:
        """Return the control law of the operating mode (33), within the torque limits (16, 48; 34 in an overload)."""
        servo = self.servos[joint]
        if not self.is_on(joint):
            return Law()
        reduced = servo.memory[34] * 10 if servo.fault & servo.memory[19] & OVERLOAD else 1000
        limit = min(servo.get(48, 2), servo.get(16, 2), reduced) / 1000
        if servo.memory[40] == DAMPING:
            return Law(kd=float(self.joints.damping[joint]), limit=limit)
        if servo.memory[33] == PWM_MODE:
            return self.drive(joint, float(np.clip(-servo.magnitude(44, 10) / 1000, -limit, limit)), 1.0)
        return self.hold(joint, limit, servo.memory[21] / MODEL_GAIN)

    def protect(self, seconds: float) -> None:
        """Detect wrong voltages (14, 15), heat (13), over-current (28, 38) and overload (35, 36)."""
        current, _, volts = self.electrical()
        efforts = np.abs(self.joints.effort) / self._peak
        for i, servo in enumerate(self.servos):
            live = VOLTAGE if not servo.memory[15] <= round(volts[i] * 10) <= servo.memory[14] else 0
            live |= OVERHEATED if self.joints.driver_c[i] >= servo.memory[13] else 0
            servo.fault = servo.fault & ~(VOLTAGE | OVERHEATED) | live
            over = efforts[i] * 100 > servo.memory[36]
            servo.overloaded_s = servo.overloaded_s + seconds if over else 0.0
            if servo.overloaded_s > servo.memory[35] * 0.01:
                servo.fault |= OVERLOAD
            over = abs(current[i]) > servo.get(28, 2) * AMPERES
            servo.over_current_s = servo.over_current_s + seconds if over else 0.0
            if servo.over_current_s > servo.memory[38] * 0.01:
                servo.fault |= OVER_CURRENT

    def refresh(self) -> None:
        """Write 56 to 70: position, speed, load, voltage, temperature, flag, status, moving, target, current."""
        current, duty, volts = self.electrical()
        speeds = self.speeds()
        for i, servo in enumerate(self.servos):
            servo.put_magnitude(56, 15, self.present(i))
            unit = 1 if servo.memory[18] & FINE_SPEED else COARSE_SPEED
            servo.put_magnitude(58, 15, round(float(speeds[i]) / unit))
            servo.put_magnitude(60, 10, round(float(duty[i]) * 1000))
            servo.put(62, 1, round(float(volts[i]) * 10))
            servo.put(63, 1, round(float(self.joints.driver_c[i])))
            servo.put(64, 1, int(servo.waiting is not None))
            servo.put(65, 1, servo.fault)
            servo.put(66, 1, int(abs(speeds[i]) > MOVING or bool(self.paths.velocity[i])))
            servo.put(67, 2, servo.get(42, 2))
            servo.put_magnitude(69, 15, round(float(current[i]) / AMPERES))
