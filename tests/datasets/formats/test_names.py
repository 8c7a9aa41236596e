import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.datasets.formats.names import distinct, field_name, inside, key_names, stream_name
from waldo.datasets.streams import NAME, Field, ScalarStream
from waldo.errors import FileError

ANY = st.one_of(st.text(), st.text(alphabet="./\\-_ab\0 é", max_size=12))


@given(ANY)
def test_any_text_becomes_a_stream_that_stays_in_its_episode(foreign):
    name = stream_name(foreign)
    stream = ScalarStream(name=name, rate_hz=1.0, fields=(Field(field_name(foreign), "", ("a",)),))
    assert stream_name(foreign) == name
    root = Path("/episode")
    place = Path(str(root / stream.name))
    assert place.is_relative_to(root)
    assert ".." not in place.parts
    assert all(len(part) <= 100 for part in place.parts)


@given(ANY, ANY)
def test_different_names_become_different_streams(one, other):
    # A slash at either end has no effect.
    if one.strip("/") != other.strip("/"):
        assert stream_name(one) != stream_name(other)
    if one != other:
        assert field_name(one) != field_name(other)


@given(st.text(string.ascii_letters + string.digits + "_.", min_size=1, max_size=60))
def test_a_valid_name_is_kept(foreign):
    if not set(foreign) <= {".", "_"} and not foreign.startswith("__"):
        assert stream_name(foreign) == foreign


@given(ANY)
def test_a_changed_name_is_changed_once(foreign):
    name = stream_name(foreign)
    if name != foreign.strip("/"):
        assert NAME.fullmatch(name)
        assert stream_name(name) != name


@given(st.lists(ANY, unique_by=lambda name: name.strip("/"), max_size=8))
def test_names_beside_each_other_fit_into_one_episode(names):
    taken: list[str] = []
    for name in names:
        taken.append(stream_name(name, taken))
    assert len(set(taken)) == len(taken)
    assert not any(a != b and a.startswith(b + "/") for a in taken for b in taken)


@pytest.mark.parametrize(
    ("foreign", "begins"),
    [
        ("../../etc/passwd", "etc_passwd-"),
        ("/", "unnamed-"),
        ("", "unnamed-"),
        ("zarr.json", "zarr.json-"),
        ("grüße", "gr_e-"),
        ("x" * 300, "x" * 40 + "-"),
        ("a-0123456789abcdef", "a-0123456789abcdef-"),
    ],
)
def test_a_changed_name_stays_readable(foreign, begins):
    assert stream_name(foreign).startswith(begins)


def test_a_topic_keeps_its_folders():
    assert stream_name("/arm/joint_states") == "arm/joint_states"


@given(st.lists(st.text(), unique=True, max_size=6))
def test_keys_have_only_the_letters_of_their_target(names):
    keys = key_names(names)
    assert all(set(key) <= {*string.ascii_letters, *string.digits, "_"} for key in keys.values())
    assert len(set(keys.values())) == len(names)


@given(st.lists(st.sampled_from(["a", "a.1", "b", ""]), max_size=8))
def test_labels_become_distinct(labels):
    found = distinct(labels)
    assert len(set(found)) == len(labels)
    if len(set(labels)) == len(labels):
        assert found == tuple(labels)


@pytest.mark.parametrize("relative", ["../x", "/etc/passwd", "a/../../x", "a\\..\\x", "a\0"])
def test_a_file_outside_a_dataset_is_refused(relative):
    with pytest.raises(FileError) as error:
        inside(Path("/data/set"), relative)
    expected = f"/data/set: names the file {relative!r}, which is outside the folder; do not trust this dataset"
    assert str(error.value) == expected


def test_a_file_inside_is_found():
    assert inside(Path("/data/set"), "videos/front/a.mp4") == Path("/data/set/videos/front/a.mp4")
