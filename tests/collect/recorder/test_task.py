"""Any text on the topic `task` becomes attributes that can be stored, or is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.collect.recorder.task import MAX_INSTRUCTION, parse_task
from waldo.errors import InvalidValueError


def test_attributes_and_instructions() -> None:
    assert parse_task('{"task": "lift", "seed": 3}') == {"task": "lift", "seed": 3}
    assert parse_task("lift the cube") == {"task": "lift the cube"}
    assert parse_task('"lift"') == {"task": "lift"}
    assert parse_task("[1, 2]") == {"task": "[1, 2]"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "the length of the task is 100000, expected at most 65536 characters"),
        ("[" * 60_000, "the length of the task|JSON that is not nested"),
        ("x" * (MAX_INSTRUCTION + 1), "the length of the task is 2001, expected at most 2000 characters"),
        ('{"seed": NaN}', "a number of the task is 'NaN', expected a finite number"),
    ],
)
def test_texts_that_cannot_be_stored_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        parse_task(text)


def test_values_of_any_depth_are_kept() -> None:
    task = {"task": "lift", "object": {"color": "red", "size": [1, {"unit": "m"}], "known": True}, "seed": None}
    assert parse_task(json.dumps(task)) == task


def test_a_lone_surrogate_is_replaced() -> None:
    assert parse_task(r'{"task": "lift \ud800", "list": ["\udfff"]}') == {"task": "lift \ufffd", "list": ["\ufffd"]}
    assert parse_task(r'{"\ud800": {"\udfff": "\ud800"}}') == {"\ufffd": {"\ufffd": "\ufffd"}}


@given(
    st.text(max_size=200) | st.recursive(st.none() | st.booleans() | st.text() | st.floats(), st.lists).map(json.dumps)
)
def test_whatever_is_accepted_can_be_stored(text: str) -> None:
    try:
        attributes = parse_task(text)
    except InvalidValueError:
        return
    assert json.loads(json.dumps(attributes, allow_nan=False).encode()) == attributes
    str(attributes).encode()
