import numpy as np
import pytest
import zarr

from waldo.datasets.storage.array_file import (
    array_metadata,
    chunk_name,
    metadata_files,
    read_array,
    write_array,
    write_group,
)


@pytest.fixture
def group(tmp_path):
    return zarr.create_group(tmp_path / "group", zarr_format=3)


VALUES = [
    np.arange(12, dtype=np.float32).reshape(4, 3),
    np.array([-1, 2**62], np.int64),
    np.array([[True], [False]]),
    np.array([0.1, np.nan, np.inf]),
    np.arange(5, dtype=np.uint32),
    np.zeros((4, 2), np.float32),
    np.zeros((0, 3), np.float32),
    np.zeros(0, np.int64),
]


@pytest.mark.parametrize("values", VALUES)
def test_the_values_are_those_that_zarr_reads(group, tmp_path, values):
    write_array(tmp_path / "group" / "a", values, ["d"] * values.ndim, {"units": "rad"})
    found = read_array(tmp_path / "group" / "a")
    assert found.dtype == values.dtype
    assert found.shape == values.shape
    assert np.array_equal(found, group["a"][...], equal_nan=values.dtype.kind == "f")
    assert array_metadata(tmp_path / "group" / "a")["attributes"] == {"units": "rad"}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Only waldo 0.1 wrote arrays of bool.
@pytest.mark.parametrize("values", [values for values in VALUES if values.dtype != bool])
def test_an_array_is_written_as_zarr_writes_it(group, tmp_path, values):
    attributes = {"units": "°C", "columns": ["a", "b"]}
    write_array(tmp_path / "a", values, ["d"] * values.ndim, attributes)
    group.create_array(
        "a",
        data=values,
        chunks=tuple(max(1, n) for n in values.shape),
        compressors=(zarr.codecs.ZstdCodec(level=3), zarr.codecs.Crc32cCodec()),
        dimension_names=["d"] * values.ndim,
        chunk_key_encoding={"name": "default", "separator": "."},
        attributes=attributes,
        # Chunks of zeros are written as well, so that a missing file always means damage.
        config={"write_empty_chunks": True},
    )
    assert files(tmp_path / "a") == files(tmp_path / "group" / "a")


def test_a_group_is_written_as_zarr_writes_it(tmp_path):
    attributes = {"task": "größer", "streams": {"a": [0.1, None]}, "empty": {}}
    write_group(tmp_path / "a" / "b", attributes)
    zarr.create_group(tmp_path / "c", zarr_format=3, attributes=attributes)
    assert files(tmp_path / "a" / "b") == files(tmp_path / "c")


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


def test_a_damaged_chunk_is_an_error(tmp_path):
    write_array(tmp_path / "group" / "a", np.arange(100.0), ["d"], {})
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
    for name in ("b", "a-x/c", "a/b"):
        write_group(tmp_path / "root" / name, {})
        write_array(tmp_path / "root" / name / "v", np.arange(2), ["d"], {})
    found = metadata_files(tmp_path / "root")
    names = list(found)
    expected = [str(path.relative_to(tmp_path / "root")) for path in (tmp_path / "root").rglob("zarr.json")]
    assert names == sorted((name for name in expected if name != "zarr.json"), key=lambda name: name.split("/"))
    assert all((tmp_path / "root" / name).read_bytes() == content for name, content in found.items())
