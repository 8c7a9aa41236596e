"""ROBOTIS's DYNAMIXEL SDK on emulated servos of two models: modes, profiles, groups, errors, watchdog, resets."""

from __future__ import annotations

from collections.abc import Callable

from tests.third_party.conftest import servos


def test_the_sdk_uses_servos_as_the_e_manual_describes(client: Callable[..., str]) -> None:
    with servos("dynamixel", "xl430-w250", "xl330-m288") as found:
        client("dynamixel.py", ["dynamixel-sdk==4.1.0"], found.port)
        assert [servo.id for servo in found.servos] == [1, 9]
        found.power_cycle()
        assert [(servo.id, servo.memory[8]) for servo in found.servos] == [(1, 3), (9, 1)]
