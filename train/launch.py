"""Training on several GPUs or machines: the command for accelerate or torchrun, a SLURM file, or a job for Ray.

The processes are those of `waldo train`; only how many there are, and where, differs. LeRobot trains through
accelerate, which takes the ranks from the environment that each of these sets.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from waldo.errors import InvalidValueError

TEXT = re.compile(r"(?P<kind>accelerate|torchrun|slurm|ray):(?:(?P<nodes>\d+)x)?(?P<processes>\d+)")
EXPECTED = "accelerate:4, torchrun:4, slurm:2x8 (nodes x GPUs), or ray:4"
MAX_PROCESSES = 4096

PORT = 29_500
"""Port of the first node, on which the processes find each other."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How the processes of a training are started."""

    kind: Literal["accelerate", "torchrun", "slurm", "ray"]
    """The launcher."""
    nodes: int
    """Number of machines."""
    processes: int
    """Number of processes on each machine, one for each GPU."""

    def command(self, python: str, arguments: Sequence[str], *, cpu: bool = False) -> list[str]:
        """Return the command that starts all processes on this machine.

        Args:
            python: The Python interpreter.
            arguments: A module and its options, which follow `python -m`.
            cpu: Whether the processes train on CPUs.
        """
        if self.processes * self.nodes == 1:
            return [python, "-m", *arguments]
        if self.kind == "torchrun":
            size = [f"--nnodes={self.nodes}", f"--nproc_per_node={self.processes}"]
            return [python, "-m", "torch.distributed.run", *size, "--standalone", "-m", *arguments]
        size = [f"--num_machines={self.nodes}", f"--num_processes={self.nodes * self.processes}"]
        kind = "--cpu" if cpu else "--multi_gpu"
        return [python, "-m", "accelerate.commands.launch", *size, kind, "-m", *arguments]

    def slurm(self, python: str, arguments: Sequence[str], name: str, environment: Mapping[str, str]) -> str:
        """Return a batch file for `sbatch`: one task per node, whose processes meet at the first node.

        Args:
            python: The Python interpreter, on a file system that all nodes share.
            arguments: A module and its options.
            name: Name of the job.
            environment: Variables that the processes need.
        """
        command = [python, "-m", "torch.distributed.run", "--nnodes=$SLURM_NNODES"]
        command += [f"--nproc_per_node={self.processes}", "--rdzv_backend=c10d", f"--rdzv_endpoint=$HEAD:{PORT}"]
        words = " ".join(word if "$" in word else shlex.quote(word) for word in [*command, "-m", *arguments])
        exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in environment.items())
        return (
            "#!/bin/bash\n"
            f"#SBATCH --job-name={re.sub(r'[^A-Za-z0-9._-]', '-', name)}\n"
            f"#SBATCH --nodes={self.nodes}\n"
            "#SBATCH --ntasks-per-node=1\n"
            f"#SBATCH --gpus-per-node={self.processes}\n"
            f"#SBATCH --output={shlex.quote(name)}-%j.log\n\n"
            'export HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)\n'
            f"{exports}srun {words}\n"
        )

    def ray(self, python: str, arguments: Sequence[str], folder: Path) -> list[str]:
        """Return the command that submits the training to a Ray cluster, as one job with all GPUs.

        Args:
            python: The Python interpreter on the cluster.
            arguments: A module and its options.
            folder: Working folder that the job receives.
        """
        inner = Launch(kind="torchrun", nodes=1, processes=self.processes).command(python, arguments)
        resources = [f"--entrypoint-num-gpus={self.processes}", f"--working-dir={folder}"]
        return ["ray", "job", "submit", *resources, "--", *inner]


def parse_launch(text: str) -> Launch:
    """Return the launcher of an option such as "accelerate:4" or "slurm:2x8".

    Raises:
        InvalidValueError: If it is not of that form.
    """
    match = TEXT.fullmatch(text)
    if match is None:
        raise InvalidValueError("--launch", text, EXPECTED)
    nodes, processes = int(match["nodes"] or 1), int(match["processes"])
    if not (nodes >= 1 and 1 <= processes and nodes * processes <= MAX_PROCESSES):
        raise InvalidValueError("--launch", text, f"1 to {MAX_PROCESSES} processes")
    kind: Literal["accelerate", "torchrun", "slurm", "ray"] = match["kind"]  # type: ignore[assignment]
    if nodes > 1 and kind != "slurm":
        raise InvalidValueError("--launch", text, "several nodes with slurm only", "start the others with SLURM or Ray")
    return Launch(kind=kind, nodes=nodes, processes=processes)
