"""Typed options, their text form on the command line, and their description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest

from waldo import registry
from waldo.errors import InvalidValueError, UnknownNameError
from waldo.robots.driver import load_driver
from waldo.robots.drivers.damiao import DamiaoOptions
from waldo.robots.drivers.options import (
    TypedOptions,
    build_options,
    convert_options,
    describe_options,
    driver_options,
    options_class,
    parse_options,
    per_joint,
)

WITH_OPTIONS = ("damiao", "dex3", "dynamixel", "feetech", "inspire", "lerobot", "robstride", "topics", "unitree")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example(TypedOptions):
    """Options of every type."""

    text: str = ""
    """A text."""
    ratio: float = 0.5
    """A ratio,
    which spans two lines."""
    many: tuple[float, ...] = ()
    mode: Literal["fast", "slow", "off"] = "fast"
    """The mode."""
    topics: Mapping[str, str] = field(default_factory=dict[str, str])


def test_texts_are_converted_to_the_types_of_the_fields() -> None:
    texts = [
        "bitrate=0x10",
        "fd=yes",
        "response_timeout_s=0.5",
        "ids=1, 0x0B",
        "motors=rs00,rs03",
        "kp=3",
        "channel=a=b",
    ]
    assert parse_options(texts, DamiaoOptions) == {
        "bitrate": 16,
        "fd": True,
        "response_timeout_s": 0.5,
        "ids": (1, 11),
        "motors": ("rs00", "rs03"),
        "kp": (3.0,),
        "channel": "a=b",
    }
    assert parse_options(["topics=front=/a, wrist=/b=c"], Example) == {"topics": {"front": "/a", "wrist": "/b=c"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fd=maybe", "fd is 'maybe', expected true or false"),
        ("bitrate=fast", "bitrate is 'fast', expected a whole number"),
        ("kp=1, two", "kp is 'two', expected a number"),
        ("torque", "option is 'torque', expected name=value"),
    ],
)
def test_texts_that_cannot_be_converted_are_rejected(text: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^{message}$"):
        parse_options([text], DamiaoOptions)


def test_unknown_names_suggest_the_closest_field_of_any_class() -> None:
    with pytest.raises(UnknownNameError, match="unknown option 'chanel'; did you mean 'channel'"):
        parse_options(["chanel=can1"], DamiaoOptions, Example)
    assert convert_options({"text": "a", "channel": "can1"}, DamiaoOptions, None, Example) == {
        "text": "a",
        "channel": "can1",
    }
    with pytest.raises(UnknownNameError, match=r"unknown option 'channel' \(known: none\)"):
        parse_options(["channel=can1"], None)
    with pytest.raises(UnknownNameError, match="unknown option 'tekst'; did you mean 'text'"):
        build_options(Example, {"tekst": ""})


def test_values_from_python_must_have_the_type_of_the_field() -> None:
    assert build_options(Example, {"many": [1, 2.5], "ratio": 1}) == Example(many=(1, 2.5), ratio=1)
    for values, message in (
        ({"many": "1, 2"}, "many is '1, 2', expected a tuple of numbers"),
        ({"many": ("1",)}, r"many is \('1',\), expected a tuple of numbers"),
        ({"ratio": True}, "ratio is True, expected a number"),
        ({"text": 3}, "text is 3, expected text"),
        ({"mode": "slower"}, "mode is 'slower', expected fast, slow or off"),
        ({"topics": {"a": 1}}, "topics is {'a': 1}, expected pairs of name=value"),
    ):
        with pytest.raises(InvalidValueError, match=f"^{message}$"):
            build_options(Example, values)


def test_a_single_value_applies_to_every_joint() -> None:
    assert per_joint("kp", (3.0,), 2, ()) == (3.0, 3.0)
    assert per_joint("kp", (), 2, [1.0, 2.0]) == (1.0, 2.0)
    with pytest.raises(InvalidValueError, match=r"kp is \(1, 2, 3\), expected one value, or 2 values in the order"):
        per_joint("kp", (1, 2, 3), 2, ())


def test_options_are_described_by_the_docstrings_of_their_fields() -> None:
    options = {option.name: option for option in describe_options(Example)}
    assert (options["text"].type, options["text"].default, options["text"].help) == ("text", "", "A text.")
    assert options["ratio"].help == "A ratio,\nwhich spans two lines."
    assert (options["many"].type, options["many"].help) == ("a tuple of numbers", "")
    assert options["mode"].type == "fast, slow or off"
    assert options["topics"].default == {}


@pytest.mark.parametrize("driver", WITH_OPTIONS)
def test_every_driver_describes_all_of_its_options(driver: str) -> None:
    options = driver_options(driver)
    assert options
    for option in options:
        assert option.help.endswith("."), (driver, option)
    kind = options_class(driver)
    assert kind is load_driver(driver).Options  # type: ignore[attr-defined]
    # The default values are valid.
    kind()


def test_hardware_drivers_have_an_options_class() -> None:
    assert set(WITH_OPTIONS) == {name for name in registry.names("waldo.drivers") if options_class(name)}
