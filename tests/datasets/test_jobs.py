from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from job_functions import Adder, double, fail, find_damage

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


def test_ray_returns_results_in_order(ray_cluster: object) -> None:
    found = list(run(double, range(20), Jobs(ray="local")))
    assert [(item, result) for item, (result, _) in found] == [(n, 2 * n) for n in range(20)]
    assert os.getpid() not in {process for _, (_, process) in found}


def test_ray_accepts_callable_objects(ray_cluster: object) -> None:
    assert list(run(Adder(5), [1, 2], Jobs(ray="local"))) == [(1, 6), (2, 7)]


def test_exception_of_a_ray_task_is_raised(ray_cluster: object) -> None:
    with pytest.raises(ValueError, match="item 3 failed"):
        list(run(fail, range(5), Jobs(ray="local")))


OWN_CLUSTER = """
import sys
from ray_cluster import without_startup_deadline
from waldo.datasets.jobs import Jobs, import_ray, run

ray = import_ray()
with without_startup_deadline():
    found = list(run(lambda number: (2 * number, sys.executable), [1, 2, 3], Jobs(ray="local")))
# After `uv run`, Ray would install another environment for the workers.
print([(number, double, path == sys.executable) for number, (double, path) in found], ray.is_initialized())
"""


def test_local_cluster_is_started_and_stopped() -> None:
    command = [sys.executable, "-c", OWN_CLUSTER]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "importable")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.splitlines()[-1] == "[(1, 2, True), (2, 4, True), (3, 6, True)] False", done.stderr
