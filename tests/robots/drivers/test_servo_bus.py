"""Encoding of register values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from waldo.robots.drivers.servo_bus import Register


@given(st.integers(-2047, 2047), st.sampled_from([11, 15]))
def test_sign_magnitude_values_are_decoded_unchanged(value: int, bit: int) -> None:
    register = Register(0, 2, sign_bit=bit)
    assert register.decode(register.encode(value)) == value
    assert register.encode(-5) == bytes([5, 1 << bit - 8])


@given(st.integers(-(2**31), 2**31 - 1))
def test_twos_complement_values_are_decoded_unchanged(value: int) -> None:
    register = Register(0, 4, signed=True)
    assert register.decode(register.encode(value)) == value
