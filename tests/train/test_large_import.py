"""What is created by a large import is exempt from garbage collection."""

import gc

import pytest

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
