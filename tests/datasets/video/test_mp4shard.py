import json
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.machine import FFMPEG
from waldo.datasets.streams import VideoStream
from waldo.datasets.video import decoder, mp4, mp4shard
from waldo.datasets.video.encoder import encode_frames
from waldo.datasets.video.shard import ShardReader, read_index
from waldo.errors import FileError


@pytest.fixture
def shard(tmp_path):
    """Return an MP4 of 13 frames in groups of 5."""
    rng = np.random.default_rng(3)
    frames = np.kron(rng.integers(0, 255, (13, 6, 8, 3)), np.ones((1, 8, 8, 1))).astype(np.uint8)
    packets = encode_frames(frames, gop=5, crf=10, rate=Fraction(30))
    path = tmp_path / "shard.mp4"
    assert mp4shard.write_mp4(path, packets, Fraction(30)) == 13
    mp4shard.append_index(path, 5, 3)
    return ShardReader(path, VideoStream(name="front", width=64, height=48, rate_hz=30.0), 13)


def test_every_frame_in_any_order(shard):
    whole = shard.read(range(13))
    assert np.array_equal(shard.read([12, 3, 3, 0, 7]), whole[[12, 3, 3, 0, 7]])


def test_frames_out_of_range_are_refused(shard):
    with pytest.raises(IndexError, match=f"frames 0 to 13 of {shard.path}, which has 13"):
        shard.read([0, 13])


def test_ffprobe_reads_it_as_a_plain_mp4(shard):
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(shard.path)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip(FFMPEG)
    assert answer.stderr == ""
    stream = json.loads(answer.stdout)["streams"][0]
    assert (stream["codec_name"], stream["nb_read_frames"], stream["avg_frame_rate"]) == ("h264", "13", "30/1")


def test_pyav_decodes_the_same_frames(shard):
    whole = shard.read(range(13))
    with av.open(str(shard.path)) as file:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    assert np.abs(decoded.astype(int) - whole).max() <= 3  # two conversions from YUV, rounded differently


def test_torchcodec_seeks_to_the_same_frames(shard, torchcodec):
    decoder = torchcodec.VideoDecoder(str(shard.path))
    assert len(decoder) == 13
    whole = shard.read(range(13))
    for number in (0, 6, 12):
        frame = decoder.get_frame_played_at(number / 30 + 0.001).data.permute(1, 2, 0).numpy()
        assert np.abs(frame.astype(int) - whole[number]).max() <= 3


def test_track_locates_the_samples(shard):
    track = mp4.read_track(shard.path)
    assert track.keys.tolist() == [k % 5 == 0 for k in range(13)]
    data = shard.path.read_bytes()[track.starts[5] : track.starts[10]]
    assert data == shard.chunk(1)
    assert np.array_equal(decoder.decode(data, range(5), (48, 64)), shard.read(range(5, 10)))


def test_tracks_are_joined_by_copying_bytes(shard, tmp_path):
    track = mp4.read_track(shard.path)
    begin, middle, end = (int(track.starts[at]) for at in (5, 10, 13))
    pieces = [mp4.Piece(shard.path, middle, end - middle), mp4.Piece(shard.path, begin, middle - begin)]
    order = [10, 11, 12, 5, 6, 7, 8, 9]
    mp4.write(
        tmp_path / "a.mp4", mp4.Track(track.entry, track.sizes[order], track.keys[order], 0), Fraction(30), pieces
    )
    with av.open(str(tmp_path / "a.mp4")) as file:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
        assert float(file.streams.video[0].duration * file.streams.video[0].time_base) == pytest.approx(8 / 30)
    assert np.abs(decoded.astype(int) - shard.read(order)).max() <= 3
    with pytest.raises(FileError, match="the sizes of its samples do not add up to its bytes"):
        mp4.write(tmp_path / "b.mp4", track, Fraction(30), pieces)
    assert not (tmp_path / "b.mp4").exists()


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"garbage" * 99)
    with pytest.raises(FileError, match="is not an MP4 file that waldo can read"):
        mp4.read_track(tmp_path / "a.mp4")


@pytest.mark.parametrize("rate", [10, 15, 20, 30, 60])
def test_frames_have_the_right_times_at_any_rate(tmp_path, rate):
    packets = encode_frames(np.zeros((7, 48, 64, 3), np.uint8), gop=5, crf=20, rate=Fraction(rate))
    mp4shard.write_mp4(tmp_path / "a.mp4", packets, Fraction(rate))
    with av.open(str(tmp_path / "a.mp4")) as file:
        times = [float(p.pts * p.time_base) for p in file.demux(video=0) if p.size]
        assert file.streams.video[0].average_rate == rate
    assert times == pytest.approx(np.arange(7) / rate)


def test_a_damaged_index_is_refused(shard):
    data = bytearray(shard.path.read_bytes())
    data[-10] ^= 1
    shard.path.write_bytes(data)
    with pytest.raises(FileError) as error:
        read_index(shard.path, 3)
    expected = f"{shard.path}: the checksum of the shard's index is wrong; restore the file from a backup"
    assert str(error.value) == expected


def test_a_file_too_short_for_its_index_is_refused(tmp_path):
    (tmp_path / "short").write_bytes(b"1234")
    with pytest.raises(FileError, match="is 4 bytes long, too short for the index of 3 chunks"):
        read_index(tmp_path / "short", 3)


@pytest.mark.parametrize(
    ("rate", "fraction"), [(30.0, "30"), (29.97, "2997/100"), (15, "15"), (30000 / 1001, "30000/1001")]
)
def test_rates_are_exact_fractions(rate, fraction):
    assert str(mp4shard.rate_fraction(rate)) == fraction


def test_the_bit_rate_is_no_part_of_the_decoders_configuration(record, script):
    """Else the episodes of an export would not fit into one file."""
    dataset = record(script(), script(seed=1))
    entries = [mp4.read_track(episode.video_path("cameras/front")).entry for episode in dataset.episodes]
    assert entries[0] != entries[1]
    assert b"btrt" in entries[0]
    short = [mp4.without_bit_rate(entry) for entry in entries]
    assert short[0] == short[1] == mp4.without_bit_rate(short[0])
    assert b"btrt" not in short[0]
    assert b"avcC" in short[0]
