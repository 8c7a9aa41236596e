import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.check import check_dataset
from waldo.datasets.quality.verify import verify

SHARD = "video/cameras/front/c.0.0.0.0"


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_an_intact_episode_has_no_damage(episode):
    assert verify(episode) == []


def test_a_flipped_bit_in_a_frame_names_the_chunk(episode):
    offset, size = (int(n) for n in episode.shard("cameras/front").index[3])
    flip(episode.path / SHARD, offset + size // 2)
    (damage,) = verify(episode)
    assert (damage.stream, damage.path) == ("cameras/front", f"{SHARD} chunk 3")
    assert damage.found == "wrong checksum (frames 15 to 19)"


@pytest.mark.parametrize("at", [4, -1, -30])
def test_a_flipped_bit_in_the_container_is_found(episode, at):
    flip(episode.path / SHARD, at)
    assert [damage.path for damage in verify(episode)] == [SHARD]


def test_a_flipped_bit_in_rows_names_the_chunk(episode):
    flip(episode.path / "joints/state/values/c.0.0", 100)
    (damage,) = verify(episode)
    assert damage.path == "joints/state/values/c.0.0"
    assert damage.found.startswith("damaged chunk (")


def test_a_missing_chunk_is_found(episode):
    (episode.path / "joints/command/time/c.0").unlink()
    (damage,) = verify(episode)
    assert (damage.path, damage.found) == ("joints/command/time/c.0", "missing chunk")


def test_changed_metadata_is_found(episode):
    path = episode.path / "joints/state/values/zarr.json"
    path.write_text(path.read_text().replace('"rad"', '"deg"'))
    (damage,) = verify(episode)
    assert (damage.path, damage.found) == ("zarr.json", "wrong checksum of the metadata")


@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_in_any_file_is_found(episode, data):
    files = sorted(path for path in episode.path.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    intact = path.read_bytes()
    at = data.draw(st.integers(0, len(intact) * 8 - 1))
    damaged = bytearray(intact)
    damaged[at // 8] ^= 1 << at % 8
    path.write_bytes(damaged)
    try:
        (report,) = check_dataset(Dataset.open(episode.path.parent))
        assert report.problems >= 1
        assert {finding.kind for finding in report.findings} <= {"checksum", "unreadable"}
    finally:
        path.write_bytes(intact)
    assert np.array_equal(verify(episode), [])
