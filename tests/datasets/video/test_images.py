import numpy as np
import pytest

from waldo.datasets.video import images


@pytest.fixture
def rgb():
    return np.kron(np.random.default_rng(1).integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def test_jpeg_keeps_size_and_channel_order(rgb):
    data = images.encode_jpeg(rgb)
    assert images.jpeg_size(data) == (48, 64)
    assert np.abs(images.decode_jpeg(data, (48, 64, 3)).astype(int) - rgb).mean() < 10


def test_wrong_images_are_refused(rgb):
    data = images.encode_jpeg(rgb)
    for call in (lambda: images.decode_jpeg(data, (32, 32, 3)), lambda: images.check_jpeg_size(data, (32, 32, 3))):
        with pytest.raises(images.ImageError, match="an image of 64x48, expected 32x32"):
            call()
    for broken in (b"", b"not a JPEG"):
        with pytest.raises(images.ImageError, match=rf"{len(broken)} bytes are not a JPEG"):
            images.decode_jpeg(broken)
    with pytest.raises(images.ImageError, match="10 bytes are not a JPEG"):
        images.jpeg_size(b"not a JPEG")


def test_packing_and_depth_are_lossless(rgb):
    assert np.array_equal(images.unpack(images.pack(rgb), rgb.shape), rgb)
    depth = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    assert np.array_equal(images.decode_depth(images.encode_depth(depth), depth.shape), depth)


def test_damaged_compressed_images_are_refused(rgb):
    with pytest.raises(images.ImageError, match="a compressed image has 9216 bytes, expected 27"):
        images.unpack(images.pack(rgb), (3, 3, 3))
    with pytest.raises(images.ImageError, match="a compressed image of 3 bytes cannot be decompressed"):
        images.unpack(b"abc", (3, 3, 3))


def test_planes_are_written_in_place_and_resized(rgb):
    batch = np.zeros((2, 3, 48, 64), np.uint8)
    images.write_planes(rgb, batch[1])
    np.testing.assert_array_equal(batch[1].transpose(1, 2, 0), rgb)
    assert not batch[0].any()
    half = np.zeros((3, 24, 32), np.uint8)
    images.write_planes(rgb, half)
    np.testing.assert_array_equal(half, rgb[::2, ::2].transpose(2, 0, 1))  # 8x8 blocks of one color


@pytest.mark.parametrize("nbytes", [-1, -(2**31), 2**31 - 1])
def test_a_depth_chunk_that_states_an_impossible_size_is_an_error(nbytes: int) -> None:
    chunk = bytearray(images.encode_depth(np.zeros((16, 16), np.uint16)))
    chunk[4:8] = nbytes.to_bytes(4, "little", signed=True)
    with pytest.raises(images.ImageError, match="a compressed image"):
        images.decode_depth(bytes(chunk), (16, 16))
