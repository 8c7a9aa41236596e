"""Work on a Ray cluster: results, exceptions, and the same bytes of imports and exports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import job_functions
import numpy as np
import pytest
import zarr
from job_functions import Adder, double, fail
from ray_cluster import without_startup_deadline

from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.convert import import_dataset
from waldo.datasets.formats.source import ImportConfig
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.jobs import Jobs, import_ray, run
from waldo.datasets.lerobot.format import LeRobotConfig


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """A local cluster, to which the commands connect; its processes are not idle, so it ends with this file."""
    ray = import_ray()
    with without_startup_deadline():
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    # A worker has not the import path of the tests.
    ray.cloudpickle.register_pickle_by_value(job_functions)
    yield
    ray.shutdown()


def files(folder: Path) -> dict[str, bytes]:
    """Return the contents of a folder, except the lock and the catalog's times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("lock", "catalog.jsonl")
    }


def test_ray_returns_results_in_order(ray_cluster: None) -> None:
    found = list(run(double, range(20), Jobs(ray="local")))
    assert [(item, result) for item, (result, _) in found] == [(n, 2 * n) for n in range(20)]
    assert os.getpid() not in {process for _, (_, process) in found}


def test_ray_accepts_callable_objects(ray_cluster: None) -> None:
    assert list(run(Adder(5), [1, 2], Jobs(ray="local"))) == [(1, 6), (2, 7)]


def test_exception_of_a_ray_task_is_raised(ray_cluster: None) -> None:
    with pytest.raises(ValueError, match="item 3 failed"):
        list(run(fail, range(5), Jobs(ray="local")))


def test_an_import_writes_the_same_bytes(tmp_path: Path, ray_cluster: None) -> None:
    root = zarr.open_group(tmp_path / "buffer", mode="w", zarr_format=2)
    data = root.create_group("data")
    data.create_array("action", data=np.arange(80.0).reshape(40, 2))
    images = np.random.default_rng(0).integers(0, 256, (40, 24, 32, 3), np.uint8)
    data.create_array("img", data=images, chunks=(1, 24, 32, 3))
    root.create_group("meta").create_array("episode_ends", data=np.arange(8, 41, 8))
    import_dataset(tmp_path / "buffer", tmp_path / "one", ImportConfig())
    result = import_dataset(tmp_path / "buffer", tmp_path / "two", ImportConfig(), jobs=Jobs(ray="local"))
    assert (result.episodes, result.encoded) == (5, 40)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_an_export_writes_the_same_bytes(
    record: Callable[..., Dataset], script: Callable[..., Any], tmp_path: Path, ray_cluster: None
) -> None:
    dataset = record(*[script(seed=k, seconds=0.3) for k in range(3)])
    export_dataset(dataset, tmp_path / "here" / "out", LeRobotConfig())
    export_dataset(dataset, tmp_path / "ray" / "out", LeRobotConfig(), jobs=Jobs(ray="local"))
    assert files(tmp_path / "here") == files(tmp_path / "ray")


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
