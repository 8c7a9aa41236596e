from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from waldo.datasets.jobs import Jobs, run
from waldo.errors import FileError, InvalidValueError

WORK = """
import os

from waldo.errors import FileError


def double(number):
    return 2 * number, os.getpid()


def fail(number):
    if number == 3:
        raise FileError("episode 3", "is damaged", "run waldo check")
    return number
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a module of work functions that worker processes can import, unlike the modules of the tests."""
    (tmp_path / "work_of_jobs.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("work_of_jobs")
    del sys.modules["work_of_jobs"]


def test_one_worker_is_this_process(work: Any) -> None:
    assert list(run(work.double, [3, 1, 2], Jobs())) == [(n, (2 * n, os.getpid())) for n in (3, 1, 2)]


def test_one_item_starts_no_process(work: Any) -> None:
    assert list(run(work.double, [3], Jobs(workers=4))) == [(3, (6, os.getpid()))]


def test_processes_return_results_in_order(work: Any) -> None:
    found = list(run(work.double, range(20), Jobs(workers=2)))
    assert [(item, result) for item, (result, _) in found] == [(n, 2 * n) for n in range(20)]
    assert os.getpid() not in {process for _, (_, process) in found}


@pytest.mark.parametrize("workers", [1, 2])
def test_exception_of_a_worker_is_raised(work: Any, workers: int) -> None:
    with pytest.raises(FileError, match="episode 3: is damaged; run waldo check") as error:
        list(run(work.fail, range(5), Jobs(workers=workers)))
    assert error.value.path == "episode 3"


def test_negative_workers_are_refused() -> None:
    with pytest.raises(InvalidValueError) as error:
        Jobs(workers=-1)
    assert str(error.value) == "workers is -1, expected 0 (one per core) or more"


# Ray pickles local functions and classes by value, so its workers need not import this module.


def test_ray_returns_results_in_order(ray_cluster: object) -> None:
    def double(number: int) -> tuple[int, int]:
        return 2 * number, os.getpid()

    found = list(run(double, range(20), Jobs(ray="local")))
    assert [(item, result) for item, (result, _) in found] == [(n, 2 * n) for n in range(20)]
    assert os.getpid() not in {process for _, (_, process) in found}


def test_ray_accepts_callable_objects(ray_cluster: object) -> None:
    assert list(run(partial(pow, 5), [1, 2], Jobs(ray="local"))) == [(1, 5), (2, 25)]


def test_exception_of_a_ray_task_is_raised(ray_cluster: object) -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise ValueError("item 3 failed")
        return number

    with pytest.raises(ValueError, match="item 3 failed"):
        list(run(fail, range(5), Jobs(ray="local")))


OWN_CLUSTER = """
import ray, runpy, sys
from waldo.datasets.jobs import Jobs, run

with runpy.run_path(sys.argv[1])["without_startup_deadline"]():
    print(list(run(lambda number: 2 * number, [1, 2, 3], Jobs(ray="local"))), ray.is_initialized())
"""


def test_local_cluster_is_started_and_stopped() -> None:
    cluster = Path(__file__).parents[1] / "ray_cluster.py"
    command = [sys.executable, "-c", OWN_CLUSTER, str(cluster)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[(1, 2), (2, 4), (3, 6)] False"
