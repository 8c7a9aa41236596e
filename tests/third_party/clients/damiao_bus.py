"""damiao-motor's library: three motors on a UDP multicast CAN bus; argument: the channel."""

import sys
import time

import multicast
from damiao_motor import DaMiaoController
from patience import until

multicast.use(sys.argv[1])
controller = DaMiaoController()
first = controller.add_motor(motor_id=1, feedback_id=0x11, motor_type="4310")
second = controller.add_motor(motor_id=2, feedback_id=0x12, motor_type="8009")


def state(motor):
    """Ask for the feedback of a motor and return it."""
    motor.state = {}

    def ask():
        motor.request_motor_feedback()
        time.sleep(0.02)
        return motor.get_states()

    until(ask)
    return motor.get_states()


def register(motor, number):
    """Read a register again, and not the value that the library remembers."""
    motor.registers.pop(number, None)

    def ask():
        try:
            return motor.get_register(number) is not None
        except TimeoutError:
            return False

    until(ask)
    return motor.registers[number]


def select(motor, mode, name):
    """Select a control mode; the library takes the motor's confirmation of a write for feedback, so read it back."""
    until(lambda: motor.write_register(10, mode) or register(motor, 10) == mode)
    motor.registers[10] = mode
    motor.ensure_control_mode(name)


# Registers: ids, ranges, limits.
assert (register(first, 8), register(first, 7)) == (1, 0x11)
assert [register(first, number) for number in (21, 22, 23)] == [12.5, 30.0, 10.0]
assert [register(second, number) for number in (21, 22, 23)] == [12.5, 45.0, 54.0]
assert register(first, 20) > 0
values = first.read_all_registers(timeout=5)
assert all(isinstance(value, (int, float)) for value in values.values()), values
assert abs(values[60] - 24.0) < 1

# MIT mode.
controller.enable_all()
until(lambda: state(first)["status"] == "ENABLED" and state(second)["status"] == "ENABLED")
first.ensure_control_mode("MIT")


def at_mit(goal):
    first.send_cmd_mit(target_position=goal, stiffness=30.0, damping=1.0)
    return abs(state(first)["pos"] - goal) < 0.02


until(lambda: at_mit(0.5))

# Position with a velocity limit, velocity, and position with a torque limit.
select(first, 2, "POS_VEL")
until(lambda: first.send_cmd_pos_vel(target_position=-0.5, velocity_limit=5.0) or abs(state(first)["pos"] + 0.5) < 0.02)
select(first, 3, "VEL")
for velocity in (4.0, -4.0):
    until(
        lambda velocity=velocity: (
            first.send_cmd_vel(target_velocity=velocity) or abs(state(first)["vel"] - velocity) < 0.3
        )
    )
until(lambda: first.send_cmd_vel(target_velocity=0.0) or abs(state(first)["vel"]) < 0.1)
select(first, 4, "FORCE_POS")
until(
    lambda: (
        first.send_cmd_force_pos(target_position=1.0, velocity_limit=8.0, torque_limit_ratio=0.8)
        or abs(state(first)["pos"] - 1.0) < 0.02
    )
)

# The present position becomes zero.
first.disable()
until(lambda: state(first)["status"] == "DISABLED" and abs(state(first)["vel"]) < 0.05)
first.set_zero_position()
until(lambda: abs(state(first)["pos"]) < 0.02)

# Without frames for the timeout, the motor stops with an error, until it is cleared.
select(first, 1, "MIT")
first.set_can_timeout(300)
assert register(first, 9) == 6000
first.enable()
time.sleep(1.0)
assert state(first)["status"] == "LOST_COMM", state(first)
first.set_can_timeout(0)
first.clear_error()
until(lambda: state(first)["status"] == "DISABLED")

# Limits of temperature and voltage are written, stored in the flash memory, and keep their value.
first.write_register(2, 110.0)
assert register(first, 2) == 110.0
first.store_parameters()
time.sleep(0.2)
controller.shutdown()
