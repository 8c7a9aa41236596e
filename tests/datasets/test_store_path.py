import os

import pytest

from waldo.datasets.store_path import ConflictError, ObjectPath, file_size, local, names, open_file, place, read_ranges
from waldo.errors import FileError

pytest.importorskip("obstore")


def test_what_an_address_and_a_path_become(tmp_path):
    assert place("s3://robots/lift/day one/") == ObjectPath("s3://robots", "lift/day one")
    assert place("memory://x") == ObjectPath("memory://x", "")
    assert place(str(tmp_path)) == tmp_path
    assert place(f"file://{tmp_path}") == tmp_path
    assert place(tmp_path) is tmp_path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ftp://host/x", "ftp:// is no object store that is known; use one of s3://, gs://"),
        ("s3://bucket/../other", "leads out of itself"),
    ],
)
def test_other_addresses_are_refused(text, found):
    with pytest.raises(FileError, match=found):
        place(text)


def test_an_object_path_is_like_a_path():
    path = ObjectPath("s3://b", "a/episode_000001.zarr")
    assert (path.name, path.stem, str(path.parent)) == ("episode_000001.zarr", "episode_000001", "s3://b/a")
    assert str(path / "zarr.json") == "s3://b/a/episode_000001.zarr/zarr.json"
    assert str((path / "zarr.json").relative_to(path)) == "zarr.json"
    assert path.absolute() == path.resolve() == path


@pytest.fixture(params=["folder", "store"])
def folder(request, tmp_path, bucket):
    """A folder here, and one in an object store: both behave the same."""
    return tmp_path / "here" if request.param == "folder" else bucket / "there"


def put(path, data):
    if isinstance(path, ObjectPath):
        path.write_bytes(data)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_reading_is_the_same_here_and_there(folder):
    put(folder / "a.bin", bytes(range(100)))
    put(folder / "deep" / "b c.json", b"{}")
    assert sorted(names(folder)) == ["a.bin", "deep"]
    assert [path.name for path in folder.rglob("*.json")] == ["b c.json"]
    assert (folder / "a.bin").read_bytes() == bytes(range(100))
    assert read_ranges(folder / "a.bin", [(90, 20), (3, 2), (200, 5)]) == [bytes(range(90, 100)), b"\3\4", b""]
    assert file_size(folder / "a.bin") == 100
    with open_file(folder / "a.bin") as file:
        file.seek(10)
        assert file.read(2) == b"\x0a\x0b"
    found = [(folder / name).is_file() for name in ("a.bin", "deep", "none")]
    assert (found, (folder / "deep").is_dir()) == ([True, False, False], True)
    with pytest.raises(FileNotFoundError, match="none"):
        (folder / "none").read_bytes()


def test_an_object_that_was_changed_meanwhile_is_not_overwritten(bucket):
    path = bucket / "edits.jsonl"
    path.write_bytes(b"one", instead_of=None)
    with pytest.raises(ConflictError, match="changed by somebody else"):
        path.write_bytes(b"two", instead_of=None)
    tag = path.tag()
    path.write_bytes(b"three", instead_of=tag)
    with pytest.raises(ConflictError):
        path.write_bytes(b"four", instead_of=tag)
    assert path.read_bytes() == b"three"


def test_what_needs_a_folder_says_so():
    with pytest.raises(FileError, match="to record needs a folder here; run waldo pull first"):
        local(ObjectPath("s3://b", "a"), "record")


def test_a_store_that_cannot_be_reached_is_one_line(bucket, monkeypatch):
    missing = ObjectPath("s3://no-such-bucket", "a")
    with pytest.raises(FileError, match=r"s3://no-such-bucket/a: cannot be reached \(NoSuchBucket\)"):
        list(missing.rglob("*"))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_says_what_to_do_instead_of_hanging(bucket):
    (bucket / "a").write_bytes(b"x")
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            (bucket / "a").read_bytes()
        except FileError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    assert b"multiprocessing_context='spawn'" in os.read(read, 1000)
