"""Several processes: accelerate and torchrun on this machine, a file for SLURM, a job for Ray."""

import subprocess
from pathlib import Path

import pytest

from waldo.cli.main import main
from waldo.errors import InvalidValueError
from waldo.train.launch import Launch, parse_launch
from waldo.train.training import last_checkpoint

ENTRY = ["waldo.train.lerobot_entry", "--steps=10", "--dataset.root=/data/my set"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("accelerate:4", ("accelerate", 1, 4)),
        ("torchrun:2", ("torchrun", 1, 2)),
        ("slurm:2x8", ("slurm", 2, 8)),
        ("slurm:8", ("slurm", 1, 8)),
        ("ray:4", ("ray", 1, 4)),
    ],
)
def test_options_are_parsed(text: str, expected: tuple[str, int, int]) -> None:
    launch = parse_launch(text)
    assert (launch.kind, launch.nodes, launch.processes) == expected


@pytest.mark.parametrize(
    "text", ["", "accelerate", "mpi:4", "slurm:0x8", "torchrun:0", "slurm:2x", "ray:5000", "slurm:2x8 "]
)
def test_other_options_are_refused(text: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^--launch is '{text}', expected "):
        parse_launch(text)


def test_several_nodes_need_slurm() -> None:
    with pytest.raises(InvalidValueError, match="several nodes with slurm only"):
        parse_launch("torchrun:2x8")


def test_one_process_needs_no_launcher() -> None:
    assert parse_launch("torchrun:1").command("python", ENTRY) == ["python", "-m", *ENTRY]


def test_the_commands_start_one_process_for_each_gpu() -> None:
    torchrun = parse_launch("torchrun:4").command("python", ENTRY)
    expected = ["--nnodes=1", "--nproc_per_node=4", "--standalone"]
    assert torchrun == ["python", "-m", "torch.distributed.run", *expected, "-m", *ENTRY]
    accelerate = parse_launch("accelerate:4").command("python", ENTRY)
    expected = ["--num_machines=1", "--num_processes=4", "--multi_gpu"]
    assert accelerate == ["python", "-m", "accelerate.commands.launch", *expected, "-m", *ENTRY]
    assert "--cpu" in parse_launch("accelerate:4").command("python", ENTRY, cpu=True)


def test_a_slurm_file_is_a_valid_script_with_the_command(tmp_path: Path) -> None:
    launch = parse_launch("slurm:2x8")
    text = launch.slurm("/env/bin/python", ENTRY, "pick vla", {"HF_HUB_OFFLINE": "1"})
    lines = text.splitlines()
    assert {"#SBATCH --nodes=2", "#SBATCH --gpus-per-node=8", "#SBATCH --job-name=pick-vla"} <= {*lines}
    assert "export HF_HUB_OFFLINE=1" in lines
    file = tmp_path / "job.sbatch"
    # The tools of a cluster are replaced by functions that print their arguments.
    fake = 'scontrol() { echo "node1"; }\nsrun() { printf "%s\\n" "$@"; }\n'
    file.write_text(text.replace("#!/bin/bash\n", "#!/bin/bash\n" + fake, 1))
    environment = {"PATH": "/usr/bin:/bin", "SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "node[1-2]"}
    done = subprocess.run(["bash", str(file)], capture_output=True, text=True, check=True, env=environment)
    words = done.stdout.splitlines()
    assert words[:3] == ["/env/bin/python", "-m", "torch.distributed.run"]
    assert {"--nnodes=2", "--nproc_per_node=8", "--rdzv_endpoint=node1:29500"} <= {*words}
    assert words[-len(ENTRY) :] == ENTRY


def test_a_ray_job_receives_the_folder_and_the_gpus() -> None:
    command = Launch(kind="ray", nodes=1, processes=4).ray("python", ENTRY, Path("/work"))
    head = ["ray", "job", "submit", "--entrypoint-num-gpus=4", "--working-dir=/work", "--"]
    assert command[: len(head)] == head
    assert command[len(head) :] == parse_launch("torchrun:4").command("python", ENTRY)


def test_two_processes_train_together(lerobot_dataset: Path, tmp_path: Path, tiny_options: tuple[str, ...]) -> None:
    output = tmp_path / "run"
    options = ["--steps", "2", "--threads", "1", "--device", "cpu", "--launch", "torchrun:2", "--output", str(output)]
    assert main(["train", str(lerobot_dataset), *options, "--", *tiny_options]) == 0
    assert last_checkpoint(output) is not None
    # LeRobot logs how many samples a step of all processes has.
    assert "Effective batch size: 4 x 2 = 8" in (output / "train.log").read_text()


def test_a_job_for_a_cluster_is_written_and_not_run(
    lerobot_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    assert main(["train", str(lerobot_dataset), "--launch", "slurm:2x8", "--output", str(output)]) == 0
    file = tmp_path / "run.sbatch"
    assert capsys.readouterr().out == f"sbatch {file}\n"
    text = file.read_text()
    assert "#SBATCH --nodes=2" in text
    assert f"--output_dir={output}" in text
    assert not output.exists()
    assert main(["train", str(lerobot_dataset), "--launch", "ray:4", "--output", str(output)]) == 0
    submitted = capsys.readouterr().out
    assert submitted.startswith("ray job submit --entrypoint-num-gpus=4 --working-dir=")
    assert "-m waldo.train.lerobot_entry " in submitted
