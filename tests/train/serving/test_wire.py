"""Messages in openpi's wire format: exact bytes, round trips, and nothing but WireError for anything else."""

import contextlib
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from waldo.train.serving import wire
from waldo.train.serving.wire import WireError, pack, unpack

NUMBERS = hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.unsigned_integer_dtypes() | hnp.floating_dtypes()
ARRAYS = hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8) | st.binary()
VALUES = st.recursive(
    PLAIN | ARRAYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.dictionaries(st.text(max_size=8), VALUES, max_size=4)

STATE = np.array([[1.5, -2.0, 3.0], [0.0, 0.25, 9.0]], np.float32)


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal in type, shape and every bit."""
    if isinstance(left, np.ndarray):
        return (
            isinstance(right, np.ndarray)
            and (left.dtype.str, left.shape) == (right.dtype.str, right.shape)
            and left.tobytes() == right.tobytes()
        )
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and repr(left) == repr(right)


def refusal(data: bytes) -> str:
    with pytest.raises(WireError) as caught:
        unpack(data)
    return str(caught.value)


def array(**changes: Any) -> bytes:
    """Return a message with an array of two float32 whose fields are changed."""
    fields = {"data": bytes(8), "dtype": "<f4", "shape": [2]} | changes
    return msgpack.packb({"x": {b"__ndarray__": True} | {key.encode(): value for key, value in fields.items()}})


@given(MESSAGES)
def test_a_message_survives_the_wire(message: dict[str, Any]) -> None:
    assert same(message, unpack(pack(message)))


@given(ARRAYS)
def test_an_array_keeps_its_type_its_shape_and_its_bits(value: np.ndarray) -> None:
    assert same({"x": [value, {"y": value}]}, unpack(pack({"x": [value, {"y": value}]})))


def test_the_bytes_of_an_array_are_those_of_openpi() -> None:
    expected = msgpack.packb(
        {
            "observation/state": {b"__ndarray__": True, b"data": STATE.tobytes(), b"dtype": "<f4", b"shape": [2, 3]},
            "images": {"cam": {b"__ndarray__": True, b"data": b"\x01\x02", b"dtype": "|u1", b"shape": [1, 2, 1]}},
            "prompt": "fold the towel",
        }
    )
    image = np.array([[[1], [2]]], np.uint8)
    message = {"observation/state": STATE, "images": {"cam": image}, "prompt": "fold the towel"}
    assert pack(message) == expected
    assert same(unpack(expected), message)


@pytest.mark.parametrize(
    ("value", "data", "dtype"),
    [
        (np.float32(0.5), 0.5, "<f4"),
        (np.int16(-3), -3, "<i2"),
        (np.uint64(2**64 - 1), 2**64 - 1, "<u8"),
        (np.bool_(True), True, "|b1"),
    ],
)
def test_the_bytes_of_a_scalar_are_those_of_openpi(value: Any, data: Any, dtype: str) -> None:
    expected = msgpack.packb({"x": {b"__npgeneric__": True, b"data": data, b"dtype": dtype}})
    assert pack({"x": value}) == expected
    found = unpack(expected)["x"]
    assert (type(found), found) == (type(value), value)


def test_a_float64_scalar_is_a_plain_number_as_in_openpi() -> None:
    assert pack({"x": np.float64(0.5)}) == msgpack.packb({"x": 0.5})


def test_arrays_in_another_memory_order_are_sent_in_the_order_of_rows() -> None:
    for value in (np.asfortranarray(STATE), STATE.T, STATE[:, ::-1]):
        assert same(unpack(pack({"x": value}))["x"], np.ascontiguousarray(value))


def test_arrays_of_the_other_byte_order_keep_it() -> None:
    found = unpack(pack({"x": STATE.astype(">f4")}))["x"]
    assert found.dtype.str == ">f4"
    np.testing.assert_array_equal(found, STATE)


def test_unpacked_arrays_are_read_only() -> None:
    assert not unpack(pack({"x": STATE}))["x"].flags.writeable


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_a_map(data: bytes) -> None:
    with contextlib.suppress(WireError):
        assert all(isinstance(key, str) for key in unpack(data))


@given(message=MESSAGES, place=st.integers(0, 10_000), removed=st.integers(0, 4), added=st.binary(max_size=4))
def test_a_changed_message_is_refused_or_a_map(message: dict[str, Any], place: int, removed: int, added: bytes) -> None:
    data = pack({"x": STATE, **message, "y": np.float32(1)})
    place %= len(data)
    with contextlib.suppress(WireError):
        assert all(isinstance(key, str) for key in unpack(data[:place] + added + data[place + removed :]))


@given(
    dtype=st.sampled_from(["<f4", "|u1", "<i8", "|b1", "<f2"]) | st.text(max_size=4) | PLAIN,
    shape=st.lists(st.integers(-2, 5) | st.integers(-(2**63), 2**64 - 1) | PLAIN, max_size=8) | PLAIN,
    data=st.binary(max_size=64) | PLAIN,
)
def test_fields_of_any_kind_are_refused_or_an_array(dtype: Any, shape: Any, data: Any) -> None:
    with contextlib.suppress(WireError):
        found = unpack(array(dtype=dtype, shape=shape, data=data))["x"]
        assert found.dtype.kind in "biuf"
        assert found.nbytes == len(data)
    with contextlib.suppress(WireError):
        unpack(msgpack.packb({"x": {b"__npgeneric__": True, b"data": data, b"dtype": dtype}}))


def test_every_truncation_is_refused() -> None:
    data = pack({"observation.state": STATE, "task": "lift it", "request_id": 7})
    for end in range(len(data)):
        assert refusal(data[:end]).startswith("a message is not msgpack: ")


def test_bytes_after_a_message_are_refused() -> None:
    assert refusal(pack({}) + b"\x00") == "a message is not msgpack: ExtraData: unpack(b) received extra data."


@pytest.mark.parametrize("dtype", ["|O", "O", "|V4", "<c8", "<M8", "<U1", "|S4", "f,f", "(2)f", ",", "", "<f3"])
def test_elements_that_are_not_numbers_are_refused(dtype: str) -> None:
    expected = f"an array has elements of type {dtype!r}, expected numbers such as '<f4' or '|u1'"
    assert refusal(array(dtype=dtype)) == expected
    assert refusal(msgpack.packb({"x": {b"__npgeneric__": True, b"data": 1, b"dtype": dtype}})) == expected


@pytest.mark.parametrize("dtype", [None, 4, b"<f4", ["<f4"], [["a", "<f4"]], "float32"])
def test_a_type_that_is_not_a_short_text_is_refused(dtype: object) -> None:
    expected = f"an array has elements of type {dtype!r}, expected numbers such as '<f4' or '|u1'"
    assert refusal(array(dtype=dtype)) == expected


@pytest.mark.parametrize("shape", [[-2], [-1, -2], [True, 2], [2.0], [None], [[2]], ["2"]])
def test_a_shape_has_sizes_from_0(shape: list[object]) -> None:
    assert refusal(array(shape=shape)) == f"an array has the shape {shape!r}, expected sizes from 0"


@pytest.mark.parametrize("shape", [None, 2, "two", {"a": 2}, [1] * 7])
def test_a_shape_is_a_short_list(shape: object) -> None:
    assert refusal(array(shape=shape)) == f"an array has the shape {shape!r}, expected a list of at most 6 sizes"


@pytest.mark.parametrize("shape", [[1], [3], [], [2, 0], [2**40, 2**40], [2**62, 4], [2**64 - 1]])
def test_a_shape_matches_the_data(shape: list[int]) -> None:
    assert refusal(array(shape=shape)) == f"an array of shape {shape} and type float32 has 8 bytes"


def test_an_empty_array_with_a_size_beyond_memory_is_refused() -> None:
    assert refusal(array(data=b"", shape=[0, 2**63])).startswith("a message is not msgpack: ")


@pytest.mark.parametrize("data", [None, "12345678", [0.0, 0.0], 8])
def test_data_are_bytes(data: object) -> None:
    assert refusal(array(data=data)) == f"an array has data of type {type(data).__name__}, expected bytes"


@pytest.mark.parametrize("data", ["text", 300, {}])
def test_a_scalar_fits_its_type(data: object) -> None:
    message = {"x": {b"__npgeneric__": True, b"data": data, b"dtype": "|i1"}}
    assert refusal(msgpack.packb(message)).startswith("a number cannot be read: ")


@pytest.mark.parametrize("start", [b"\x81\xa1a", b"\x91", b"\x81\xa1a\x91"])
def test_deep_nesting_is_refused(start: bytes) -> None:
    assert refusal(start * 100_000 + b"\xc0").startswith("a message is not msgpack: ")


def test_deep_nesting_is_not_packed() -> None:
    message: dict[str, Any] = {}
    for _ in range(2000):
        message = {"a": message}
    with pytest.raises(WireError) as caught:
        pack(message)
    assert str(caught.value) == "a message cannot be packed: recursion limit exceeded."


def test_keys_are_texts() -> None:
    assert refusal(msgpack.packb({b"state": 1})) == "a message has the key b'state', expected texts as keys"
    assert refusal(msgpack.packb({1: 2})).startswith("a message is not msgpack: ")
    assert refusal(msgpack.packb({"a": {None: 2}})).startswith("a message is not msgpack: ")


@pytest.mark.parametrize(("value", "kind"), [([], "list"), (3, "int"), ("a", "str"), (None, "NoneType")])
def test_a_message_is_a_map(value: object, kind: str) -> None:
    assert refusal(msgpack.packb(value)) == f"a message is a {kind}, expected a map"


def test_an_array_alone_is_not_a_message() -> None:
    alone = {b"__ndarray__": True, b"data": bytes(4), b"dtype": "<f4", b"shape": [1]}
    assert refusal(msgpack.packb(alone)) == "a message is a ndarray, expected a map"


def test_a_message_beyond_the_limit_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_BYTES", 20)
    assert unpack(pack({"a": "b" * 15})) == {"a": "b" * 15}
    assert refusal(bytes(21)) == "a message has 21 bytes, at most 20 are accepted"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.array([None]), "an array has elements of type object, expected numbers"),
        (np.zeros(1, "c8"), "an array has elements of type complex64, expected numbers"),
        (np.zeros(1, "V4"), "an array has elements of type |V4, expected numbers"),
        (np.zeros(1, "M8[s]"), "an array has elements of type datetime64[s], expected numbers"),
        (np.array(["a"]), "an array has elements of type <U1, expected numbers"),
        (np.datetime64(0, "s"), "an array has elements of type datetime64[s], expected numbers"),
        ({1, 2}, "a value is of type set, expected text, numbers, lists, maps or arrays"),
        (2**64, "a value is of type int, expected text, numbers, lists, maps or arrays"),
    ],
)
def test_values_that_the_format_lacks_are_not_packed(value: object, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        pack({"x": value})
    assert str(caught.value) == f"a message cannot be packed: {reason}"


def test_nothing_is_unpickled() -> None:
    """A message of the library msgpack-numpy, which pickles arrays of objects."""
    message = {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": b"cos\nsystem\n(S'true'\ntR."}
    assert unpack(msgpack.packb({"x": message})) == {"x": message}
