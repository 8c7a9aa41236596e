"""Emulated Dynamixel servos: profiles, watchdog, errors, resets and models, as the e-Manual describes them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.sim.emulation.servo_desk import Desk
from waldo.errors import UnknownNameError
from waldo.sim.emulation.dynamixel import DynamixelServos
from waldo.sim.emulation.servos.dynamixel_table import MODELS, factory_values, table_of

RANGE, LENGTH, LIMIT, ACCESS = 4, 5, 6, 7
ALERT = 0x80


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk("dynamixel", "xl330-m288", "xl430-w250")
    yield desk
    desk.close()


def position(desk: Desk) -> int:
    return desk.first.signed(132, 4)


def test_a_velocity_based_profile_is_a_trapezoid(desk: Desk) -> None:
    desk.write(1, 11, 1, 4)
    desk.write(1, 64, 1, 1)
    desk.write(1, 108, 4, 10)  # 2441 counts/s²
    desk.write(1, 112, 4, 100)  # 1563 counts/s
    desk.wait(0.02)
    start = position(desk)
    desk.write(1, 116, 4, start + 4096)
    desk.wait(0.3)
    assert abs(position(desk) - start - 110) < 25
    desk.wait(1.0)
    assert desk.first.signed(136, 4) == 100
    desk.wait(3)
    assert abs(position(desk) - start - 4096) < 8
    assert desk.first.memory[123] & 1


def test_a_time_based_profile_has_its_duration(desk: Desk) -> None:
    desk.write(1, 10, 1, 4)
    desk.write(1, 64, 1, 1)
    desk.write(1, 108, 4, 300)
    desk.write(1, 112, 4, 1000)
    desk.wait(0.02)
    start = position(desk)
    goal = start + 900 if start < 2000 else start - 900
    desk.write(1, 116, 4, goal)
    desk.wait(0.5)
    assert abs(abs(position(desk) - start) - 450) < 40, "half of the way in half of the time"
    desk.wait(0.6)
    assert abs(position(desk) - goal) < 8


def test_the_bus_watchdog_stops_a_servo_until_it_is_cleared(desk: Desk) -> None:
    desk.write(1, 11, 1, 1)
    desk.write(1, 64, 1, 1)
    desk.write(1, 104, 4, 50)
    desk.write(1, 98, 1, 100)  # 2 s
    desk.wait(1.9)
    assert desk.first.signed(128, 4) > 40
    desk.wait(0.5)
    assert desk.first.memory[98] == 0xFF
    assert abs(desk.first.signed(128, 4)) < 3
    assert desk.write(1, 104, 4, 50) == RANGE
    assert desk.write(1, 98, 1, 0) == 0
    assert desk.write(1, 104, 4, 50) == 0


def test_reverse_mode_changes_the_direction(desk: Desk) -> None:
    desk.write(1, 10, 1, 1)
    desk.write(1, 11, 1, 1)
    desk.write(1, 64, 1, 1)
    desk.write(1, 104, 4, 100)
    desk.wait(0.5)
    assert desk.servos.speeds()[0] < -1000
    assert abs(desk.first.signed(128, 4) - 100) < 5


def test_a_goal_switches_the_torque_on_if_the_drive_mode_asks_for_it(desk: Desk) -> None:
    desk.wait(0.01)
    desk.write(1, 116, 4, 1000)
    assert desk.first.memory[64] == 0
    desk.write(1, 10, 1, 8)
    assert desk.write(1, 100, 2, 900) == RANGE
    assert desk.first.memory[64] == 0, "the goal was refused"
    desk.write(1, 116, 4, 1000)
    assert desk.first.memory[64] == 1


def test_a_goal_within_a_larger_write_switches_the_torque_on(desk: Desk) -> None:
    desk.write(1, 10, 1, 8)
    (response,) = desk.send(1, 3, 108, 0, *bytes(8), *(1000).to_bytes(4, "little"))
    assert response[8] == 0
    assert desk.first.memory[64] == 1


def test_a_servo_that_is_unplugged_executes_nothing(desk: Desk) -> None:
    desk.write(1, 64, 1, 1)
    desk.servos.silent = {1}
    assert desk.send(1, 8) == []
    desk.servos.silent = set()
    assert desk.first.memory[64] == 1, "not rebooted"


def test_a_change_of_the_operating_mode_resets_goals_and_profile(desk: Desk) -> None:
    desk.write(1, 100, 2, 100)
    desk.write(1, 112, 4, 100)
    desk.write(1, 11, 1, 4)
    assert (desk.first.get(100, 2), desk.first.get(112, 4)) == (885, 0)


def test_errors_of_writes(desk: Desk) -> None:
    assert desk.write(1, 65, 1, 2) == RANGE
    assert desk.write(1, 11, 1, 2) == RANGE
    assert desk.write(2, 11, 1, 5) == RANGE, "an XL430 has no current-based mode"
    assert desk.write(1, 116, 2, 0) == LENGTH
    assert desk.write(1, 100, 2, 886) == RANGE
    desk.write(1, 36, 2, 500)
    assert desk.write(1, 100, 2, 501) == LIMIT
    assert desk.write(1, 104, 4, 446) == LIMIT
    assert desk.write(1, 132, 4, 0) == ACCESS
    assert desk.write(1, 300, 1, 0) == ACCESS
    desk.write(1, 64, 1, 1)
    assert desk.write(1, 7, 1, 3) == ACCESS
    (response,) = desk.send(1, 2, 220, 0, 20, 0)
    assert response[8] == ACCESS
    (response,) = desk.send(1, 0x77)
    assert response[8] == 2


def test_a_voltage_error_alerts_and_shuts_down_an_xl330_until_a_reboot(desk: Desk) -> None:
    desk.write(1, 64, 1, 1)
    desk.servos.supply_v[0] = 2.0
    desk.wait(0.05)
    assert desk.first.memory[70] == 1
    assert desk.first.memory[64] == 0
    assert desk.write(1, 65, 1, 1) == ALERT
    desk.servos.supply_v[0] = 5.0
    desk.wait(0.05)
    assert desk.write(1, 64, 1, 1) == ALERT | 1
    desk.send(1, 8)
    desk.wait(0.05)
    assert desk.write(1, 64, 1, 1) == 0


def test_factory_resets_keep_what_their_option_names(desk: Desk) -> None:
    for option, identity, rate in ((2, 5, 3), (1, 5, 1), (0xFF, 1, 1)):
        desk.servos.servos[0].put(7, 1, 5)
        desk.servos.servos[0].put(8, 1, 3)
        desk.write(5, 20, 4, 77)
        (response,) = desk.send(5, 6, option)
        assert response[4] == 5
        assert (desk.first.id, desk.first.memory[8], desk.first.signed(20, 4)) == (identity, rate, 0)
    desk.servos.servos[0].put(7, 1, 5)
    desk.servos.servos[0].put(8, 1, 3)
    desk.write(5, 20, 4, 77)
    desk.send(0xFE, 6, 0xFF)
    assert desk.first.signed(20, 4) == 77, "not for all servos at once"


def test_clear_is_refused_while_the_servo_moves(desk: Desk) -> None:
    desk.write(1, 11, 1, 4)
    desk.write(1, 64, 1, 1)
    desk.write(1, 112, 4, 200)
    desk.write(1, 116, 4, 20_000)
    desk.wait(0.3)
    clear = (0x10, 1, 0x44, 0x58, 0x4C, 0x22)
    (response,) = desk.send(1, *clear)
    assert response[8] == 1
    desk.write(1, 112, 4, 0)
    desk.write(1, 64, 1, 0)
    desk.wait(1)
    turns = position(desk)
    (response,) = desk.send(1, *clear)
    assert response[8] == 0
    desk.wait(0.01)
    assert position(desk) == pytest.approx(turns % 4096, abs=3)


def test_a_fast_read_ends_at_a_servo_that_does_not_respond(desk: Desk) -> None:
    (whole,) = desk.send(0xFE, 0x8A, 132, 0, 4, 0, 1, 2)
    assert len(whole) == 8 + 2 * 8
    assert int.from_bytes(whole[5:7], "little") == len(whole) - 7
    desk.servos.silent = {2}
    (part,) = desk.send(0xFE, 0x8A, 132, 0, 4, 0, 1, 2)
    assert len(part) == 8 + 8
    assert part[:16] == whole[:16]


def test_indirect_writes_reach_their_registers_with_their_limits(desk: Desk) -> None:
    for k in range(4):
        desk.write(1, 168 + 2 * k, 2, 116 + k)
    desk.wait(0.01)
    (response,) = desk.send(1, 3, 208, 0, *(1500).to_bytes(4, "little"))
    assert response[8] == 0
    assert desk.first.signed(116, 4) == 1500
    (response,) = desk.send(1, 3, 208, 0, *(5000).to_bytes(4, "little"))
    assert response[8] == LIMIT


@pytest.mark.parametrize("name", MODELS)
def test_factory_values_are_within_the_ranges_of_their_registers(name: str) -> None:
    model = MODELS[name]
    table = table_of(model)
    for address, value in factory_values(model, model.voltages[1] / 12).items():
        if address in table and table[address].writable:
            assert table[address].lower <= value <= table[address].upper, address
    addresses = sorted(table)
    for first, second in pairwise(addresses):
        assert first + table[first].size <= second, "registers do not overlap"


def test_an_unknown_model_is_named(desk: Desk) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'xl430-w250'"):
        DynamixelServos(desk.joints, models=["xl430-w25"] * 2)
