import pytest

from waldo.files import format_bytes


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (2e9, "2.0 GB"), (3e12, "3000.0 GB")],
)
def test_bytes_have_a_decimal_unit(nbytes, text):
    assert format_bytes(nbytes) == text
