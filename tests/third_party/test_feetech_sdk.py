"""Feetech's own SDKs on emulated servos: ping, motion, wheel and step mode, synchronous and registered writes, ids."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.third_party.conftest import servos


@pytest.mark.parametrize(
    ("package", "kind"), [("feetech-servo-sdk==1.0.0", "older"), ("ftservo-python-sdk==2.0.1", "newer")]
)
def test_the_sdk_drives_servos_as_documented(client: Callable[..., str], package: str, kind: str) -> None:
    with servos("feetech", "sts3215", "sts3215") as found:
        client("scservo.py", [package], found.port, kind)
        assert [servo.id for servo in found.servos] == [1, 7]
        found.power_cycle()
        assert [servo.id for servo in found.servos] == [1, 7], "stored"
        assert found.servos[0].memory[33] == 1, "the last mode that was written while the memory was unlocked"
