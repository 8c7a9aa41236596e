from __future__ import annotations

import os

import pytest
from job_functions import double, fail, find_damage

from waldo.datasets.jobs import Jobs, run
from waldo.errors import FileError, InvalidValueError


def test_one_worker_is_this_process() -> None:
    assert list(run(double, [3, 1, 2], Jobs())) == [(n, (2 * n, os.getpid())) for n in (3, 1, 2)]


def test_one_item_starts_no_process() -> None:
    assert list(run(double, [3], Jobs(workers=4))) == [(3, (6, os.getpid()))]


def test_processes_return_results_in_order() -> None:
    found = list(run(double, range(20), Jobs(workers=2)))
    assert [(item, result) for item, (result, _) in found] == [(n, 2 * n) for n in range(20)]
    assert os.getpid() not in {process for _, (_, process) in found}


@pytest.mark.parametrize("workers", [1, 2])
def test_exception_of_a_worker_is_raised(workers: int) -> None:
    with pytest.raises(ValueError, match="item 3 failed"):
        list(run(fail, range(5), Jobs(workers=workers)))


@pytest.mark.parametrize("workers", [1, 2])
def test_error_of_waldo_keeps_its_message_and_its_facts(workers: int) -> None:
    with pytest.raises(FileError) as error:
        list(run(find_damage, range(5), Jobs(workers=workers)))
    assert (str(error.value), error.value.path) == ("episode 3: is damaged; run waldo check", "episode 3")


def test_negative_workers_are_refused() -> None:
    with pytest.raises(InvalidValueError) as error:
        Jobs(workers=-1)
    assert str(error.value) == "workers is -1, expected 0 (one per core) or more"
