"""What is created by a large import is exempt from garbage collection, and distributions are listed once."""

import gc
import importlib.metadata

import pytest

from waldo.train import package_map
from waldo.train.large_import import large_import


def test_what_the_block_creates_is_never_visited_again() -> None:
    before = gc.get_freeze_count()
    with large_import():
        assert not gc.isenabled()
        modules = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(modules)


def test_collection_goes_on_after_an_import_that_fails() -> None:
    with pytest.raises(ModuleNotFoundError), large_import():
        import no_such_module  # noqa: F401
    assert gc.isenabled()


def test_the_fast_list_of_packages_is_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "packages_distributions", None)
    with large_import():
        assert importlib.metadata.packages_distributions is package_map.packages_distributions
