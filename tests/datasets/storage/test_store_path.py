import os

import pytest

from waldo.datasets.storage.store_path import (
    ConflictError,
    ObjectPath,
    entry_names,
    file_size,
    open_file,
    open_path,
    read_ranges,
    require_local,
)
from waldo.errors import FileError


def test_addresses_and_paths_are_distinguished(tmp_path):
    assert open_path("s3://robots/lift/day one/") == ObjectPath("s3://robots", "lift/day one")
    assert open_path("memory://x") == ObjectPath("memory://x", "")
    assert open_path(str(tmp_path)) == tmp_path
    assert open_path(f"file://{tmp_path}") == tmp_path
    assert open_path(tmp_path) is tmp_path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ftp://host/x", "unsupported object-store scheme ftp://; use one of s3://, gs://"),
        ("s3://bucket/../other", "contains .."),
    ],
)
def test_other_addresses_are_refused(text, found):
    with pytest.raises(FileError, match=found):
        open_path(text)


def test_object_path_behaves_like_a_path():
    path = ObjectPath("s3://b", "a/episode_000001.zarr")
    assert (path.name, str(path.parent)) == ("episode_000001.zarr", "s3://b/a")
    assert str(path / "zarr.json") == "s3://b/a/episode_000001.zarr/zarr.json"
    assert path.absolute() == path.resolve() == path


@pytest.fixture(params=["folder", "store"])
def folder(request, tmp_path, bucket):
    """A local folder and one in an object store; both behave the same."""
    return tmp_path / "here" if request.param == "folder" else bucket / "there"


def put(path, data):
    if isinstance(path, ObjectPath):
        path.write_bytes(data)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_reading_is_the_same_for_local_and_remote_folders(folder):
    put(folder / "a.bin", bytes(range(100)))
    put(folder / "deep" / "b c.json", b"{}")
    assert sorted(entry_names(folder)) == ["a.bin", "deep"]
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


def test_object_that_another_process_has_changed_is_not_overwritten(bucket):
    path = bucket / "edits.jsonl"
    path.write_bytes(b"one", replacing=None)
    with pytest.raises(ConflictError, match="was changed by another process"):
        path.write_bytes(b"two", replacing=None)
    tag = path.tag()
    path.write_bytes(b"three", replacing=tag)
    with pytest.raises(ConflictError):
        path.write_bytes(b"four", replacing=tag)
    assert path.read_bytes() == b"three"


def test_object_store_is_refused_where_a_local_folder_is_required():
    with pytest.raises(FileError, match="to record requires a local folder; run waldo pull first"):
        require_local(ObjectPath("s3://b", "a"), "record")


def test_unreachable_store_is_reported_in_one_line(bucket, monkeypatch):
    missing = ObjectPath("s3://no-such-bucket", "a")
    with pytest.raises(FileError, match=r"s3://no-such-bucket/a: cannot be reached \(NoSuchBucket\)"):
        list(missing.rglob("*"))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_raises_an_error_with_advice_instead_of_hanging(bucket):
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
