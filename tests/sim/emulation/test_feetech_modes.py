"""Emulated Feetech servos: operating modes, protections and instructions, as the memory table describes them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sim.emulation.servo_desk import Desk

POSITION, SPEED = 56, 58


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk("feetech", "sts3215", "sts3215")
    yield desk
    desk.close()


def position(desk: Desk) -> int:
    return desk.first.magnitude(POSITION, 15)


def test_goal_time_is_the_duration_of_a_motion_and_overrides_the_speed(desk: Desk) -> None:
    desk.wait(0.1)
    start = position(desk)
    desk.write(1, 46, 2, 30)
    desk.write(1, 44, 2, 1000)
    desk.write(1, 42, 2, start + 1000)
    desk.wait(0.5)
    assert abs(position(desk) - start - 500) < 40
    desk.wait(0.6)
    assert abs(position(desk) - start - 1000) < 5
    assert desk.first.memory[66] == 0


def test_acceleration_shapes_a_motion(desk: Desk) -> None:
    desk.wait(0.1)
    start = position(desk)
    desk.write(1, 41, 1, 10)  # 1000 counts/s²
    desk.write(1, 42, 2, start + 1000)
    desk.wait(0.5)
    assert abs(position(desk) - start - 125) < 15
    assert abs(desk.first.magnitude(SPEED, 15) - 500) < 60


def test_the_speed_unit_depends_on_the_phase(desk: Desk) -> None:
    desk.write(1, 33, 1, 1)
    desk.write(1, 40, 1, 1)
    desk.write(1, 46, 2, 20)
    desk.wait(0.5)
    assert abs(desk.first.magnitude(SPEED, 15) - 20) <= 2
    desk.write(1, 18, 1, desk.first.memory[18] & ~4)
    desk.wait(0.5)
    assert abs(desk.servos.speeds()[0] - 1000) < 50
    assert desk.first.magnitude(SPEED, 15) == 20


def test_a_positive_pwm_turns_towards_smaller_positions(desk: Desk) -> None:
    desk.write(1, 33, 1, 2)
    desk.write(1, 40, 1, 1)
    desk.write(1, 44, 2, 400)
    desk.wait(0.3)
    assert desk.servos.speeds()[0] < -200
    desk.write(1, 44, 2, 400 | 1 << 10)
    desk.wait(0.6)
    assert desk.servos.speeds()[0] > 200


def test_the_damping_value_of_the_torque_register_brakes(desk: Desk) -> None:
    desk.write(1, 33, 1, 2)
    desk.write(1, 40, 1, 1)
    desk.write(1, 44, 2, 1000)
    desk.wait(0.5)
    desk.write(1, 40, 1, 2)
    desk.wait(0.5)
    assert abs(desk.servos.speeds()[0]) < 20


def test_a_servo_never_moves_across_the_step_from_4095_to_0(desk: Desk) -> None:
    desk.joints.place([-1.2, 0.0])
    desk.wait(0.01)
    start = position(desk)
    assert start > 3900
    desk.write(1, 42, 2, 100)
    desk.wait(0.05)
    assert desk.servos.speeds()[0] < 0, "downwards, through the whole turn"


def test_multi_turn_positions_accumulate(desk: Desk) -> None:
    desk.write(1, 9, 2, 0)
    desk.write(1, 11, 2, 0)
    desk.wait(0.05)
    desk.write(1, 46, 2, 6000)
    desk.write(1, 42, 2, 10_000)
    desk.wait(2.5)
    assert abs(position(desk) - 10_000) < 5
    desk.write(1, 42, 2, 2000 | 1 << 15)
    desk.wait(3)
    assert abs(position(desk) + 2000) < 5


def test_a_wrong_voltage_is_reported_and_disables_the_torque_only_on_request(desk: Desk) -> None:
    desk.write(1, 40, 1, 1)
    desk.servos.supply_v[0] = 3.0
    desk.wait(0.05)
    assert desk.first.memory[65] == 1
    assert desk.servos.is_on(0)
    assert desk.write(1, 19, 1, 0x2D) == 1, "in the error byte of every response"
    desk.wait(0.05)
    assert not desk.servos.is_on(0)
    desk.servos.supply_v[0] = 12.0
    desk.wait(0.05)
    assert desk.first.memory[65] == 0
    assert desk.servos.is_on(0)


def test_an_overload_reduces_the_torque_until_it_is_enabled_again(desk: Desk) -> None:
    desk.write(1, 36, 1, 1)
    desk.write(1, 35, 1, 20)
    desk.write(1, 33, 1, 2)
    desk.write(1, 40, 1, 1)
    desk.write(1, 44, 2, 1000)
    desk.wait(0.5)
    assert desk.first.memory[65] & 0x20
    assert desk.servos.law(0).torque != 0
    desk.write(1, 36, 1, 100)
    desk.write(1, 40, 1, 1)
    desk.wait(0.01)
    assert not desk.first.memory[65] & 0x20


def test_a_locked_memory_forgets_and_an_unlocked_one_keeps(desk: Desk) -> None:
    desk.write(1, 21, 1, 7)
    desk.write(1, 55, 1, 0)
    desk.write(1, 22, 1, 8)
    assert (desk.first.memory[21], desk.first.memory[22]) == (7, 8)
    desk.servos.power_cycle()
    assert (desk.first.memory[21], desk.first.memory[22]) == (32, 8)


def test_calibrating_the_middle_sets_and_stores_the_homing_offset(desk: Desk) -> None:
    desk.wait(0.01)
    assert abs(position(desk) - 2048) > 100
    desk.write(1, 40, 1, 128)
    desk.wait(0.01)
    assert abs(position(desk) - 2048) < 2
    desk.servos.power_cycle()
    desk.wait(0.01)
    assert abs(position(desk) - 2048) < 2


def test_recovery_restores_the_factory_settings_except_the_id(desk: Desk) -> None:
    desk.write(1, 55, 1, 0)
    desk.write(1, 5, 1, 9)
    desk.write(9, 21, 1, 50)
    desk.write(9, 31, 2, 300)
    assert len(desk.send(9, 6)) == 1
    assert (desk.first.id, desk.first.memory[21], desk.first.get(31, 2)) == (9, 32, 0)


def test_unknown_instructions_and_addresses_past_the_table_are_not_answered(desk: Desk) -> None:
    assert desk.send(1, 0x0A) == []
    assert desk.send(1, 2, 80, 10) == []
    assert desk.send(1, 3, 85, 1, 2, 3) == []
    assert len(desk.send(1, 2, 80, 7)) == 1


def test_read_only_registers_do_not_change(desk: Desk) -> None:
    desk.write(1, 3, 2, 1234)
    desk.write(1, 62, 1, 99)
    desk.wait(0.01)
    assert desk.first.get(3, 2) == 777
    assert desk.first.memory[62] != 99
