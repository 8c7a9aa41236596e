"""Motors that drive a joint together: half the losses of each at the same torque, and back again."""

from __future__ import annotations

import pytest

from waldo.robots.motor import in_parallel
from waldo.robots.motors.dynamixel import XL330_M288, XM540_W270
from waldo.robots.thermal.two_node import TwoNodeModel


def test_two_motors_share_torque_and_heat() -> None:
    two = in_parallel(XM540_W270, 2)
    assert (two.name, two.count) == ("2 x Dynamixel XM540-W270", 2)
    assert two.peak_torque_nm == 2 * 10.6
    assert two.torque_constant_nm_per_a == XM540_W270.torque_constant_nm_per_a
    assert two.no_load_speed == XM540_W270.no_load_speed
    one_thermal, thermal = XM540_W270.need_thermal("a test"), two.need_thermal("a test")
    assert thermal.winding_j_per_k == 2 * one_thermal.winding_j_per_k
    # Each of two motors with half of the torque has a quarter of the loss: half of it in all.
    torque, constant = 8.0, two.need("torque_constant_nm_per_a", "a test")
    loss = (torque / constant) ** 2 * two.need("resistance_ohm", "a test")
    each = (torque / 2 / constant) ** 2 * XM540_W270.need("resistance_ohm", "a test")
    assert loss == pytest.approx(2 * each)
    # Both are as warm as one motor with its own share.
    rises = [TwoNodeModel([one]).at_ambient(25.0) for one in (thermal, one_thermal)]
    assert loss * thermal.total_k_per_w == pytest.approx(each * one_thermal.total_k_per_w)
    assert rises[0].shape == rises[1].shape


def test_one_of_two_motors_is_the_motor_itself() -> None:
    assert in_parallel(in_parallel(XM540_W270, 2), 1) == XM540_W270
    two = in_parallel(XL330_M288, 2)
    assert two.thermal is None
    assert in_parallel(two, 1) == XL330_M288
