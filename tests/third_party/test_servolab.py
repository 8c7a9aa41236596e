"""servolab on emulated Feetech servos: position, velocity and PWM mode in SI units, zero, factory reset, ids."""

from __future__ import annotations

from collections.abc import Callable

from tests.third_party.conftest import servos

SERVOLAB = ["servolab==1.0.0"]


def test_servolab_uses_servos_as_documented(client: Callable[..., str]) -> None:
    with servos("feetech", "sts3215", "sts3215") as found:
        client("servolab_arm.py", SERVOLAB, found.port)
        assert [servo.id for servo in found.servos] == [1, 5]
        found.power_cycle()
        assert [servo.id for servo in found.servos] == [1, 5]


def test_servolab_finds_servos_with_the_same_id(client: Callable[..., str]) -> None:
    with servos("feetech", "sts3215", "sts3215", ids=(1, 1)) as found:
        found.joints.place([0.0, 0.7])  # type: ignore[attr-defined]
        client("servolab_same_ids.py", SERVOLAB, found.port)
