from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest

from tests.durability import crash_before, recorded, tree
from waldo.errors import FileError
from waldo.files import (
    atomic_file,
    atomic_folder,
    make_folder,
    remove_partials,
    require_empty,
    require_writable,
    sync_tree,
    write_atomic,
)


class InterruptedWriteError(Exception):
    pass


def replace_file(path: Path) -> None:
    with atomic_file(path) as partial:
        partial.write_bytes(b"new")


def create_folder(path: Path) -> None:
    with atomic_folder(path) as partial:
        (partial / "inner").mkdir()
        (partial / "a").write_bytes(b"1")
        (partial / "inner" / "b").write_bytes(b"2")


def test_file_is_flushed_then_renamed_then_its_folder_is_flushed(tmp_path: Path) -> None:
    with recorded() as calls:
        replace_file(tmp_path / "data.json")
    assert [call.name for call in calls] == ["fsync", "replace", "fsync", "unlink"]
    partial = f"{tmp_path}/.data.{os.getpid()}.partial.json"
    assert calls[0].path == partial
    assert (calls[1].path, calls[1].target) == (partial, str(tmp_path / "data.json"))
    assert calls[2].path == str(tmp_path)
    assert tree(tmp_path) == {"data.json": b"new"}


def test_file_inside_a_folder_that_is_flushed_as_a_whole_is_only_renamed(tmp_path: Path) -> None:
    with recorded() as calls, atomic_file(tmp_path / "data", sync=False) as partial:
        partial.write_bytes(b"new")
    assert [call.name for call in calls] == ["replace", "unlink"]


def test_folder_is_flushed_with_all_files_then_renamed_then_its_parent_is_flushed(tmp_path: Path) -> None:
    with recorded() as calls:
        create_folder(tmp_path / "folder")
    partial = f"{tmp_path}/.folder.{os.getpid()}.partial"
    renamed = [call.name for call in calls].index("replace")
    assert {call.path for call in calls[:renamed]} == {
        partial,
        *(f"{partial}/{name}" for name in ("a", "inner", "inner/b")),
    }
    assert {call.name for call in calls[:renamed]} == {"fsync"}
    assert (calls[renamed].path, calls[renamed].target) == (partial, str(tmp_path / "folder"))
    assert (calls[renamed + 1].name, calls[renamed + 1].path) == ("fsync", str(tmp_path))


def test_sync_tree_flushes_files_before_the_folders_that_contain_them(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "b").write_bytes(b"2")
    with recorded() as calls:
        sync_tree(tmp_path)
    assert [Path(call.path).name for call in calls] == ["b", "inner", tmp_path.name]


def test_crash_at_any_step_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    states: list[bytes] = []
    for step in count():
        path = tmp_path / str(step) / "data"
        path.parent.mkdir()
        path.write_bytes(b"old")
        crashed = crash_before(step, lambda path=path: replace_file(path))
        states.append(path.read_bytes())
        remove_partials(path.parent)
        assert os.listdir(path.parent) == ["data"]
        if not crashed:
            break
    assert states == [b"old", b"old", b"new", b"new", b"new"]


def test_crash_at_any_step_leaves_no_folder_or_the_whole_one(tmp_path: Path) -> None:
    states: list[bool] = []
    for step in count():
        path = tmp_path / str(step) / "folder"
        path.parent.mkdir()
        crashed = crash_before(step, lambda path=path: create_folder(path))
        states.append(path.exists())
        assert tree(path) == ({"a": b"1", "inner/b": b"2"} if path.exists() else {})
        remove_partials(path.parent)
        assert os.listdir(path.parent) == ["folder"] * path.exists()
        if not crashed:
            break
    # Two files and two folders are flushed before the rename; the parent after it.
    assert states == [False] * 5 + [True] * 2


def test_exception_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_file(path) as partial:
            partial.write_bytes(b"half")
            raise InterruptedWriteError

    with pytest.raises(InterruptedWriteError):
        interrupted()
    assert tree(tmp_path) == {"data": b"old"}


def test_exception_in_the_block_leaves_no_folder(tmp_path: Path) -> None:
    def interrupted() -> None:
        with atomic_folder(tmp_path / "folder") as partial:
            (partial / "a").write_bytes(b"half")
            raise InterruptedWriteError

    with pytest.raises(InterruptedWriteError):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_failed_flush_leaves_no_folder(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"), atomic_folder(tmp_path / "folder", sync=fail):
        pass
    assert os.listdir(tmp_path) == []


def test_temporary_path_keeps_the_extension(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "video.mp4") as partial:
        assert (partial.suffix, partial.parent) == (".mp4", tmp_path)
        partial.touch()


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    write_atomic(tmp_path / "text", "°C")
    assert (tmp_path / "text").read_bytes() == "°C".encode()


def test_folder_replaces_an_empty_one_only(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    create_folder(tmp_path / "folder")
    assert sorted(tree(tmp_path / "folder")) == ["a", "inner/b"]
    with pytest.raises(FileError) as error:
        create_folder(tmp_path / "folder")
    assert str(error.value) == f"{tmp_path}/folder: already exists; choose another folder, or delete this one first"


def test_target_must_be_absent_or_empty(tmp_path: Path) -> None:
    require_empty(tmp_path / "absent")
    require_empty(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path, tmp_path / "file", tmp_path / "dangling"):
        with pytest.raises(FileError, match="already exists; use another one"):
            require_empty(path, "use another one")


def test_only_temporary_entries_are_removed(tmp_path: Path) -> None:
    kept = ["data.json", ".hidden", "a.partial", ".partial"]
    for name in [*kept, f".data.{os.getpid()}.partial.json", ".data.1.partial"]:
        (tmp_path / name).touch()
    (tmp_path / ".folder.12.partial").mkdir()
    (tmp_path / ".folder.12.partial" / "file").touch()
    outside = tmp_path.parent / "outside"
    outside.mkdir()
    (tmp_path / ".link.3.partial").symlink_to(outside)
    remove_partials(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
    assert outside.is_dir()


def test_a_folder_for_results_is_created_or_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    require_writable(tmp_path / "c" / "file.xml")
    assert (tmp_path / "a" / "b").is_dir()
    assert (tmp_path / "c").is_dir()
    (tmp_path / "file").touch()
    for refused, text in (
        (lambda: make_folder(tmp_path / "file"), "is not a folder; choose another folder"),
        (lambda: make_folder(tmp_path / "file" / "x"), "cannot be created (Not a directory); choose another folder"),
        (lambda: require_writable(tmp_path), "is a folder; pass the path of a file"),
    ):
        with pytest.raises(FileError) as caught:
            refused()
        assert str(caught.value).endswith(f": {text}")
