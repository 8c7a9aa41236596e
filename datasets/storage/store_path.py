"""Paths of datasets: a folder, or a prefix in an object store such as `s3://bucket/name`.

Code that reads a dataset works with both: an ObjectPath has the methods of pathlib that are needed for reading, and the
functions below cover what pathlib lacks (ranges, sizes, zarr groups). Access goes through obstore: S3 and compatible
stores, Google Cloud Storage, Azure. Keys, region and endpoint come from the environment variables of the stores' own
tools (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL ...).

universal_pathlib 0.3 was tried in place of ObjectPath. Its fsspec layer has no conditional put, which edits depend on,
and does not translate obstore's errors, so most of this module would remain; joining two names takes 660 µs, not 7 µs.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from waldo.errors import FileError
from waldo.files import read_regular

if TYPE_CHECKING:
    import zarr

SCHEMES = ("s3", "gs", "az", "abfs", "abfss", "memory")
"""URL schemes of supported object stores."""

ADDRESS = re.compile(r"([a-z0-9]+)://([^/]*)/?(.*)")
"""Scheme, bucket and key of an address."""

READ_AHEAD_BYTES = 256 * 1024
"""Bytes per request for an object that is read sequentially."""

type StorePath = Path | ObjectPath
"""Path of a file or folder, local or in an object store."""


class ConflictError(FileError):
    """An object that another process has changed since it was read."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """A file or folder in an object store: hashable, picklable, and created without a request to the store."""

    bucket: str
    """Scheme and bucket, such as `s3://robots`."""
    key: str
    """Key in the bucket, without slashes at either end; empty for the bucket itself."""

    def __str__(self) -> str:
        """Return the address."""
        return f"{self.bucket}/{self.key}" if self.key else self.bucket

    def __truediv__(self, name: str) -> ObjectPath:
        """Return the path of an entry in this folder."""
        return ObjectPath(self.bucket, posixpath.join(self.key, name) if self.key else name)

    @property
    def name(self) -> str:
        """The last component."""
        return posixpath.basename(self.key)

    @property
    def parent(self) -> ObjectPath:
        """The folder that contains this path."""
        return ObjectPath(self.bucket, posixpath.dirname(self.key))

    def absolute(self) -> ObjectPath:
        """Return the path itself, since addresses are absolute."""
        return self

    resolve = absolute

    def read_bytes(self) -> bytes:
        """Return the content of an object; raise FileNotFoundError if it does not exist."""
        return self.call("get").bytes().to_bytes()

    def read_text(self) -> str:
        """Return the content of an object as text."""
        return self.read_bytes().decode()

    def write_bytes(self, data: bytes, *, replacing: str | None = "") -> None:
        """Write an object atomically.

        Args:
            data: The new content.
            replacing: Tag of the version to replace, or None if the object must not exist. By default any version is
                replaced.

        Raises:
            ConflictError: If the object has another version.
        """
        mode: Any = "overwrite" if replacing == "" else "create" if replacing is None else {"e_tag": replacing}
        self.call("put", data, mode=mode)

    def unlink(self) -> None:
        """Delete an object."""
        self.call("delete")

    def tag(self) -> str | None:
        """Return the version tag of an object; None if it does not exist."""
        try:
            return str(self.call("head")["e_tag"])
        except FileNotFoundError:
            return None

    def is_file(self) -> bool:
        """Return whether this is an object."""
        return self.tag() is not None

    def is_dir(self) -> bool:
        """Return whether any object is below this path."""
        return next(self.rglob("*"), None) is not None

    def exists(self) -> bool:
        """Return whether this is an object or a folder."""
        return self.is_file() or self.is_dir()

    def rglob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield the objects below this path with a name that matches the pattern."""
        import obstore

        with _file_errors(self):
            for page in obstore.list(store_of(self.bucket), prefix=f"{self.key}/" if self.key else None):
                paths = (ObjectPath(self.bucket, entry["path"]) for entry in page)
                yield from (path for path in paths if fnmatchcase(path.name, pattern))

    def call(self, operation: str, *args: Any, **options: Any) -> Any:
        """Call one of obstore's functions on this object."""
        import obstore

        with _file_errors(self):
            return getattr(obstore, operation)(store_of(self.bucket), self.key, *args, **options)


def open_path(text: str | StorePath) -> StorePath:
    """Return the path for an address of an object store or a local path; a path is returned unchanged.

    Raises:
        FileError: If the scheme is not supported or the address contains `..`.
    """
    if not isinstance(text, str):
        return text
    match = ADDRESS.fullmatch(text)
    if match is None:
        return Path(text)
    scheme, bucket, key = match.groups()
    if scheme == "file":
        return Path("/" + key)
    if scheme not in SCHEMES:
        do = f"use one of {', '.join(known + '://' for known in SCHEMES)}, or a folder"
        raise FileError(text, f"unsupported object-store scheme {scheme}://", do)
    if ".." in key.split("/"):
        raise FileError(text, "contains ..", "write the address without ..")
    return ObjectPath(f"{scheme}://{bucket}", key.strip("/"))


def require_local(path: StorePath, action: str) -> Path:
    """Return a local path unchanged.

    Args:
        path: The path of a dataset.
        action: What needs a local folder, such as "record", for the error message.

    Raises:
        FileError: If the path is in an object store.
    """
    if isinstance(path, ObjectPath):
        raise FileError(path, f"is in an object store, but to {action} requires a local folder", "run waldo pull first")
    return path


def read_range(path: StorePath, offset: int, nbytes: int) -> bytes:
    """Return a range of a file; it is shorter if the file ends before."""
    return read_ranges(path, [(offset, nbytes)])[0]


def read_ranges(path: StorePath, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """Return ranges of a file, each given by offset and size [bytes]; a range is shorter if the file ends before.

    From an object store, adjacent ranges are read in one request and distant ones in parallel requests.
    """
    if isinstance(path, Path):
        with path.open("rb") as file:
            return [os.pread(file.fileno(), nbytes, offset) for offset, nbytes in spans]
    size = file_size(path)
    inside = [(min(offset, size), min(offset + nbytes, size)) for offset, nbytes in spans]
    requested = [(start, end) for start, end in inside if end > start]
    starts, ends = [start for start, _ in requested], [end for _, end in requested]
    parts = iter(path.call("get_ranges", starts=starts, ends=ends) if requested else [])
    return [next(parts).to_bytes() if end > start else b"" for start, end in inside]


def file_size(path: StorePath) -> int:
    """Return the size of a file that does not change [bytes]."""
    return path.stat().st_size if isinstance(path, Path) else _object_size(path)


def current_size(path: StorePath) -> int:
    """Return the size of a file that may grow [bytes]; 0 if it does not exist."""
    try:
        return path.stat().st_size if isinstance(path, Path) else int(path.call("head")["size"])
    except FileNotFoundError:
        return 0


@cache
def _object_size(path: ObjectPath) -> int:
    """Return the size of an object; cached, since objects that are read in ranges never change."""
    return int(path.call("head")["size"])


@contextmanager
def open_file(path: StorePath) -> Generator[BinaryIO]:
    """Open a file for sequential reading, for the duration of the block."""
    if isinstance(path, Path):
        with path.open("rb") as file:
            yield file
        return
    reader = path.call("open_reader", buffer_size=READ_AHEAD_BYTES)
    with closing(reader):
        yield cast("BinaryIO", reader)


def entry_names(folder: StorePath) -> list[str]:
    """Return the names of the entries of a folder; a local folder that does not exist is a FileNotFoundError."""
    if isinstance(folder, Path):
        return os.listdir(folder)
    import obstore

    with _file_errors(folder):
        prefix = f"{folder.key}/" if folder.key else None
        listed = obstore.list_with_delimiter(store_of(folder.bucket), prefix=prefix)
    paths = [*listed["common_prefixes"], *(entry["path"] for entry in listed["objects"])]
    return [posixpath.basename(path.rstrip("/")) for path in paths]


def read_bytes(path: StorePath) -> bytes:
    """Return the content of a file or object.

    Raises:
        OSError: If it cannot be read, or is no regular file.
    """
    return read_regular(path) if isinstance(path, Path) else path.read_bytes()


def open_group(path: StorePath) -> zarr.Group:
    """Open a zarr group for reading."""
    import zarr

    if isinstance(path, Path):
        return zarr.open_group(path, mode="r", use_consolidated=False)
    from zarr.storage import ObjectStore

    store: Any = ObjectStore(store_of(path.bucket), read_only=True)
    return zarr.open_group(store, path=path.key, mode="r", zarr_format=3, use_consolidated=False)


@cache
def store_of(bucket: str) -> Any:
    """Return this process's client for a bucket, such as `s3://robots`."""
    import obstore.store

    if _forked:
        do = "start workers with spawn: DataLoader(..., multiprocessing_context='spawn')"
        raise FileError(bucket, "cannot be read in a process that was forked after its parent had read it", do)
    if bucket.startswith("memory://"):
        return obstore.store.MemoryStore()
    if bucket.startswith("s3://") and os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        # An endpoint without encryption was chosen explicitly in the environment.
        return obstore.store.from_url(bucket, client_options={"allow_http": True})
    return obstore.store.from_url(bucket)


_forked: list[int] = []
"""Not empty in a forked child if the parent had a client: its threads do not exist here, and requests would hang."""


def _after_fork() -> None:
    if store_of.cache_info().currsize:
        _forked.append(os.getpid())
        store_of.cache_clear()


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def _file_errors(path: ObjectPath) -> Generator[None]:
    """Convert obstore's exceptions to FileNotFoundError, ConflictError and FileError."""
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist") from None
    except (exceptions.PreconditionError, exceptions.AlreadyExistsError):
        raise ConflictError(path, "was changed by another process at the same time", "run the command again") from None
    except exceptions.BaseError as error:
        do = "check the address, the keys and the network"
        raise FileError(path, f"cannot be reached ({_summary(error)})", do) from error


def _summary(error: BaseException) -> str:
    """Return the error code or the first line of an obstore exception, which can be pages long."""
    text = str(error)
    code = re.search(r"<Code>(\w+)</Code>", text)
    return code[1] if code else text.splitlines()[0][:200]
