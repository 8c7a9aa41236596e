"""The public names of `waldo` exist, are listed, and are imported only when they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import waldo


@pytest.mark.parametrize("name", waldo.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(waldo, name) is not None
    assert name in dir(waldo)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'waldo' has no attribute 'Datasets'"):
        _ = waldo.Datasets


def test_importing_waldo_imports_nothing_else() -> None:
    code = "import sys, waldo; print([m for m in sys.modules if m.startswith('waldo.') or m in ('numpy', 'zarr')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
