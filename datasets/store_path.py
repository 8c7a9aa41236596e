"""Where a dataset lies: a folder, or a place in an object store such as `s3://bucket/name`.

What reads a dataset need not know which: an ObjectPath has pathlib's names for what both can do, and the functions here
are what pathlib lacks. Object stores are obstore's: S3 and what speaks its protocol, Google's, Azure's; keys, region
and endpoint come from the environment that their own tools use (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL ...).
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

if TYPE_CHECKING:
    import zarr

SCHEMES = ("s3", "gs", "az", "abfs", "abfss", "memory")
"""How an object store's address begins."""

ADDRESS = re.compile(r"([a-z0-9]+)://([^/]*)/?(.*)")
"""Scheme, bucket, key."""

HEAD_BYTES = 256 * 1024
"""How much of an object is asked for at a time where it is read from its start on."""

type Place = Path | ObjectPath
"""Where a file or a folder lies."""


class ConflictError(FileError):
    """An object that somebody else has changed since it was read."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """A file or folder in an object store. Frozen, hashable, picklable; nothing is asked of the store to make one."""

    bucket: str
    """Scheme and bucket, such as `s3://robots`."""
    key: str
    """The rest, without a slash at either end; empty for the bucket itself."""

    def __str__(self) -> str:
        """Return the address."""
        return f"{self.bucket}/{self.key}" if self.key else self.bucket

    def __truediv__(self, name: str) -> ObjectPath:
        """Return what lies inside."""
        return ObjectPath(self.bucket, posixpath.join(self.key, name) if self.key else name)

    @property
    def name(self) -> str:
        """The last part."""
        return posixpath.basename(self.key)

    @property
    def stem(self) -> str:
        """The last part without its ending."""
        return posixpath.splitext(self.name)[0]

    @property
    def parent(self) -> ObjectPath:
        """The folder that it lies in."""
        return ObjectPath(self.bucket, posixpath.dirname(self.key))

    def absolute(self) -> ObjectPath:
        """Return itself: an address is never relative."""
        return self

    def resolve(self) -> ObjectPath:
        """Return itself: an address leads to nothing else."""
        return self

    def relative_to(self, folder: ObjectPath) -> Path:
        """Return the path inside a folder."""
        return Path(self.key).relative_to(folder.key)

    def read_bytes(self) -> bytes:
        """Return the content; FileNotFoundError where there is none."""
        return self.call("get").bytes().to_bytes()

    def read_text(self) -> str:
        """Return the content as text."""
        return self.read_bytes().decode()

    def write_bytes(self, data: bytes, *, instead_of: str | None = "") -> None:
        """Put the content, whole or not at all; `instead_of` is the tag of what it may replace (None: of nothing)."""
        mode: Any = "overwrite" if instead_of == "" else "create" if instead_of is None else {"e_tag": instead_of}
        self.call("put", data, mode=mode)

    def unlink(self) -> None:
        """Remove it."""
        self.call("delete")

    def tag(self) -> str | None:
        """Return what changes with the content; None where there is nothing."""
        try:
            return str(self.call("head")["e_tag"])
        except FileNotFoundError:
            return None

    def is_file(self) -> bool:
        """Whether there is content."""
        return self.tag() is not None

    def is_dir(self) -> bool:
        """Whether anything lies inside."""
        return next(self._inside(), None) is not None

    def exists(self) -> bool:
        """Whether it is a file or a folder."""
        return self.is_file() or self.is_dir()

    def rglob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield the files below whose last part fits the pattern."""
        for meta in self._inside():
            path = ObjectPath(self.bucket, meta["path"])
            if fnmatchcase(path.name, pattern):
                yield path

    def _inside(self) -> Iterator[Any]:
        """Yield what the store says of every file below."""
        import obstore

        with _translated(self):
            for page in obstore.list(store_of(self.bucket), prefix=f"{self.key}/" if self.key else None):
                yield from page

    def call(self, operation: str, *args: Any, **options: Any) -> Any:
        """Call one of obstore's functions on this object."""
        import obstore

        with _translated(self):
            return getattr(obstore, operation)(store_of(self.bucket), self.key, *args, **options)


def place(text: str | Place) -> Place:
    """Return the place that a text names: an object store's address, or a path."""
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
        raise FileError(text, f"{scheme}:// is no object store that is known", do)
    if ".." in key.split("/"):
        raise FileError(text, "leads out of itself", "write the address without ..")
    return ObjectPath(f"{scheme}://{bucket}", key.strip("/"))


def local(where: Place, what: str) -> Path:
    """Return a folder on this machine; an object store is refused, since it cannot do `what`."""
    if isinstance(where, ObjectPath):
        raise FileError(where, f"is in an object store: to {what} needs a folder here", "run waldo pull first")
    return where


def read_range(where: Place, offset: int, nbytes: int) -> bytes:
    """Return bytes of a file, fewer where it ends before."""
    return read_ranges(where, [(offset, nbytes)])[0]


def read_ranges(where: Place, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """Return parts of a file, (offset, nbytes) each; a part is shorter where the file ends before.

    An object store is asked for neighbouring parts at once and for distant ones side by side.
    """
    if isinstance(where, Path):
        with where.open("rb") as file:
            return [os.pread(file.fileno(), nbytes, offset) for offset, nbytes in spans]
    size = file_size(where)
    inside = [(min(offset, size), min(offset + nbytes, size)) for offset, nbytes in spans]
    asked = [span for span in inside if span[1] > span[0]]
    found = iter(where.call("get_ranges", starts=[s for s, _ in asked], ends=[e for _, e in asked]) if asked else [])
    return [next(found).to_bytes() if end > start else b"" for start, end in inside]


def file_size(where: Place) -> int:
    """Return how long a file is [bytes]."""
    return where.stat().st_size if isinstance(where, Path) else _size(where)


def current_size(where: Place) -> int:
    """Return how long a file is that may grow [bytes]; 0 where there is none."""
    try:
        return where.stat().st_size if isinstance(where, Path) else int(where.call("head")["size"])
    except FileNotFoundError:
        return 0


@cache
def _size(where: ObjectPath) -> int:
    """Return an object's size; asked once, for nothing that is read in parts ever changes."""
    return int(where.call("head")["size"])


@contextmanager
def open_file(where: Place) -> Generator[BinaryIO]:
    """Open a file for reading from its start on, for as long as the block runs."""
    if isinstance(where, Path):
        with where.open("rb") as file:
            yield file
        return
    reader = where.call("open_reader", buffer_size=HEAD_BYTES)
    with closing(reader):
        yield cast("BinaryIO", reader)


def names(where: Place) -> list[str]:
    """Return what lies directly inside a folder; FileNotFoundError where there is no such folder."""
    if isinstance(where, Path):
        return os.listdir(where)
    import obstore

    with _translated(where):
        prefix = f"{where.key}/" if where.key else None
        found = obstore.list_with_delimiter(store_of(where.bucket), prefix=prefix)
    paths = [*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]
    return [posixpath.basename(path.rstrip("/")) for path in paths]


def open_group(where: Place) -> zarr.Group:
    """Open a zarr group for reading."""
    import zarr

    if isinstance(where, Path):
        return zarr.open_group(where, mode="r", use_consolidated=False)
    from zarr.storage import ObjectStore

    store: Any = ObjectStore(store_of(where.bucket), read_only=True)
    return zarr.open_group(store, path=where.key, mode="r", zarr_format=3, use_consolidated=False)


@cache
def store_of(bucket: str) -> Any:
    """Return the client of a bucket, such as `s3://robots`, that this process uses."""
    import obstore.store

    if _forked:
        do = "start workers by spawning: DataLoader(..., multiprocessing_context='spawn')"
        raise FileError(bucket, "cannot be read in a process that was forked from one that has read it", do)
    if bucket.startswith("memory://"):
        return obstore.store.MemoryStore()
    if bucket.startswith("s3://") and os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        # An address without encryption is one's own choice, made in the environment.
        return obstore.store.from_url(bucket, client_options={"allow_http": True})
    return obstore.store.from_url(bucket)


_forked: list[int] = []
"""Filled in a child of fork() whose parent had a client: its threads are not in the child, and a call would hang."""


def _after_fork() -> None:
    if store_of.cache_info().currsize:
        _forked.append(os.getpid())
        store_of.cache_clear()


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def _translated(where: ObjectPath) -> Generator[None]:
    """Turn the store's errors into those of files."""
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{where} is not there") from None
    except (exceptions.PreconditionError, exceptions.AlreadyExistsError):
        raise ConflictError(where, "was changed by somebody else at this moment", "run the command again") from None
    except exceptions.BaseError as error:
        do = "check the address, the keys and the network"
        raise FileError(where, f"cannot be reached ({_first_line(error)})", do) from error


def _first_line(error: BaseException) -> str:
    """Return the telling line of an error of obstore's, which go on for pages."""
    text = str(error)
    code = re.search(r"<Code>(\w+)</Code>", text)
    return code[1] if code else text.splitlines()[0][:200]
