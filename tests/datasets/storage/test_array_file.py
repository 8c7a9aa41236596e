import numpy as np
import pytest
import zarr

from waldo.datasets.recording.finalize import write_array
from waldo.datasets.storage.array_file import array_metadata, chunk_name, metadata_files, read_array


@pytest.fixture
def group(tmp_path):
    return zarr.create_group(tmp_path / "group", zarr_format=3)


@pytest.mark.parametrize(
    "values",
    [
        np.arange(12, dtype=np.float32).reshape(4, 3),
        np.array([-1, 2**62], np.int64),
        np.array([[True], [False]]),
        np.array([0.1, np.nan, np.inf]),
        np.arange(5, dtype=np.uint32),
        np.zeros((0, 3), np.float32),
        np.zeros(0, np.int64),
    ],
)
def test_the_values_are_those_that_zarr_reads(group, tmp_path, values):
    write_array(group, "a", values, ["d"] * values.ndim, {"units": "rad"})
    found = read_array(tmp_path / "group" / "a")
    assert found.dtype == values.dtype
    assert found.shape == values.shape
    assert np.array_equal(found, group["a"][...], equal_nan=values.dtype.kind == "f")
    assert array_metadata(tmp_path / "group" / "a")["attributes"] == {"units": "rad"}


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (2, 3)},
        {"compressors": None},
        {"chunks": (4, 3), "compressors": (zarr.codecs.GzipCodec(), zarr.codecs.Crc32cCodec())},
        {"serializer": zarr.codecs.BytesCodec(endian="big")},
    ],
)
def test_other_layouts_are_refused(group, tmp_path, options):
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    group.create_array("a", data=values, **options)
    with pytest.raises(ValueError, match="not that of a recording"):
        read_array(tmp_path / "group" / "a")


def test_a_damaged_chunk_is_an_error(group, tmp_path):
    write_array(group, "a", np.arange(100.0), ["d"], {})
    path = tmp_path / "group" / "a" / chunk_name(array_metadata(tmp_path / "group" / "a"))
    intact = path.read_bytes()
    for at in (0, len(intact) // 2, len(intact) - 1):
        path.write_bytes(intact[:at] + bytes([intact[at] ^ 1]) + intact[at + 1 :])
        with pytest.raises(ValueError, match="wrong checksum"):
            read_array(tmp_path / "group" / "a")
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="wrong checksum"):
        read_array(tmp_path / "group" / "a")
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / "group" / "a")


def test_metadata_files_are_sorted_by_their_components(tmp_path):
    root = zarr.create_group(tmp_path / "root", zarr_format=3)
    for name in ("b", "a-x/c", "a/b"):
        write_array(root.require_group(name), "v", np.arange(2), ["d"], {})
    found = metadata_files(tmp_path / "root")
    names = list(found)
    expected = [str(path.relative_to(tmp_path / "root")) for path in (tmp_path / "root").rglob("zarr.json")]
    assert names == sorted((name for name in expected if name != "zarr.json"), key=lambda name: name.split("/"))
    assert all((tmp_path / "root" / name).read_bytes() == content for name, content in found.items())
