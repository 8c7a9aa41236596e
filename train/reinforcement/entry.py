"""LeRobot's own actor or learner, in a process that `waldo reinforce` starts: `python -m ... actor|learner OPTIONS`.

* The actor's environment is the simulated twin (`InterventionEnv`).
* SIGUSR1 lets the learner save a checkpoint and end; LeRobot alone ends without one.
* A checkpoint contains the contract, from which `waldo eval` knows what its actions are.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, cast

from waldo.process import stop_with_parent
from waldo.robots.description import load_robot
from waldo.sim.environments.intervention_env import STEP_RAD, STEPS_HZ, InterventionEnv
from waldo.sim.tasks.task import load_task
from waldo.train.large_import import large_import
from waldo.train.policies.contract import INCREMENT, Contract, write_contract

ENVIRONMENT = "WALDO_REINFORCE_ENVIRONMENT"
"""Environment variable with the arguments of `InterventionEnv` as JSON."""


class SaveFrequency(int):
    """Steps between checkpoints; every step is due once a stop is requested.

    LeRobot computes `step % save_freq`, for which Python asks the right operand first, since it is of a subclass.
    """

    stopping = False

    def __rmod__(self, step: int) -> int:
        """Return the rest of a step number; 0 if a checkpoint is due."""
        return 0 if SaveFrequency.stopping else step % int(self)


def act() -> None:
    """Run LeRobot's actor in the environment."""
    with large_import():
        import lerobot.rl.actor as actor

    def make(cfg: Any) -> tuple[InterventionEnv, None]:
        return InterventionEnv(**json.loads(os.environ[ENVIRONMENT])), None

    vars(actor)["make_robot_env"] = make
    _run(actor, "act_with_policy", cast(Any, actor).actor_cli)


def learn() -> None:
    """Run LeRobot's learner."""
    with large_import():
        import lerobot.rl.learner as learner

    def request(number: int, frame: FrameType | None) -> None:
        SaveFrequency.stopping = True

    signal.signal(signal.SIGUSR1, request)
    lerobot = cast(Any, learner)
    resume, save, receive, fill = (
        lerobot.handle_resume_logic,
        lerobot.save_training_checkpoint,
        lerobot.process_interaction_messages,
        lerobot.process_transitions,
    )
    newest: list[Any] = [None]
    least: list[int] = []

    def fill_or_end(**options: Any) -> None:
        """Add transitions; a stop before there are enough of them to learn from ends the process at once."""
        fill(**options)
        if SaveFrequency.stopping and len(options["replay_buffer"]) < least[-1]:
            options["shutdown_event"].set()

    def receive_and_remember(**options: Any) -> Any:
        # Without a message since the step before, LeRobot stores a checkpoint as that of action 0.
        newest[0] = receive(**options) or newest[0]
        return newest[0]

    def resume_until_stopped(cfg: Any) -> Any:
        """Return the configuration of the checkpoint to resume, or `cfg`."""
        found = resume(cfg)
        # What belongs to this run rather than to the checkpoint.
        found.output_dir, found.dataset.root = cfg.output_dir, cfg.dataset.root
        found.policy.actor_learner_config = cfg.policy.actor_learner_config
        found.save_freq = SaveFrequency(found.save_freq)
        least.append(found.policy.online_step_before_learning)
        return found

    def save_with_contract(**options: Any) -> None:
        save(**options)
        cfg = options["cfg"]
        robot = load_robot(load_task(cfg.env.task).robot)
        contract = Contract(
            fps=STEPS_HZ,
            joints=robot.joint_names,
            state=robot.joint_names,
            unit=INCREMENT,
            increment_rad=STEP_RAD,
            dataset=str(cfg.dataset.repo_id).removeprefix("local/"),
        )
        checkpoint = Path(cfg.output_dir) / "checkpoints" / "last"
        write_contract(checkpoint / "pretrained_model", contract)
        if SaveFrequency.stopping:
            os.kill(os.getpid(), signal.SIGTERM)  # LeRobot's own way to end
            SaveFrequency.stopping = False

    vars(lerobot).update(
        handle_resume_logic=resume_until_stopped,
        save_training_checkpoint=save_with_contract,
        process_interaction_messages=receive_and_remember,
        process_transitions=fill_or_end,
    )
    _run(learner, "add_actor_information_and_train", lerobot.train_cli)


def _run(module: ModuleType, loop: str, start: Callable[[], None]) -> None:
    """Run a part of LeRobot's, and exit with 1 if its loop raised: LeRobot logs the exception and exits with 0."""
    raised: list[BaseException] = []
    original = vars(module)[loop]

    def noting(*arguments: Any, **options: Any) -> Any:
        try:
            return original(*arguments, **options)
        except Exception as error:
            raised.append(error)
            raise

    vars(module)[loop] = noting
    start()
    if raised:
        sys.exit(1)


def main() -> None:
    """Run the part that the first argument names."""
    import torch

    part = sys.argv.pop(1)
    torch.set_num_threads(1)
    # LeRobot's actor handles SIGTERM, and then waits for a learner that has ended as well.
    stop_with_parent(signal.SIGKILL if part == "actor" else signal.SIGTERM)
    {"actor": act, "learner": learn}[part]()


if __name__ == "__main__":
    main()
