import numpy as np
import pytest

from waldo.datasets.video import histograms


def test_statistics_equal_those_of_the_pixels():
    rng = np.random.default_rng(4)
    image = rng.integers(0, 256, (100, 120, 3), dtype=np.uint8)
    values = image.reshape(-1, 3) / 255
    found = histograms.image_statistics(histograms.histogram(image).astype(np.int64))
    assert found["mean"] == pytest.approx(values.mean(axis=0))
    assert found["std"] == pytest.approx(values.std(axis=0))
    assert found["min"] == pytest.approx(values.min(axis=0))
    assert found["max"] == pytest.approx(values.max(axis=0))
    for quantile in histograms.QUANTILES:
        expected = np.quantile(values, quantile, axis=0)
        assert found[f"q{round(quantile * 100):02d}"] == pytest.approx(expected, abs=1.01 / 255)


@pytest.mark.parametrize("size", [(16, 16), (160, 120), (161, 90), (480, 640), (2160, 3840)])
def test_a_sample_is_small_enough_to_count_in_16_bits(size):
    counts = histograms.histogram(np.full((*size, 3), 7, np.uint8))
    assert counts[:, 7].tolist() == [histograms.sampled_pixels(*size)] * 3
    assert histograms.sampled_pixels(*size) < 2**16


def test_empty_histogram_has_no_statistics():
    with pytest.raises(ValueError, match="the histogram is empty: no image was sampled"):
        histograms.image_statistics(np.zeros((3, 256), np.int64))
