"""The plan of a session: how many episodes of which task, in which words, in which scene, by which operator.

It is a YAML file::

    name: kitchen
    operators: [anna, ben]
    reset_s: 8
    start: motion
    tasks:
      - instructions: [lift the red cube, pick up the red cube]
        scenes: [cube on the left, cube on the right]
        subtasks: [reach, grasp, lift]
        episodes: 5

Each combination of operator, instruction and scene is a cell with a number of episodes; this plan has 8 cells of 5.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from waldo.errors import InvalidValueError

SESSION, CELL, SCENE = "session", "session_cell", "scene"
"""Attributes of an episode: name of the plan, key of the cell, and the prompt of the scene."""

MAX_CELLS = 10_000
"""Largest number of cells of a plan."""

MAX_EPISODES = 100_000
"""Largest number of episodes of a plan."""


@dataclass(frozen=True, kw_only=True)
class PlannedTask:
    """A task of a plan."""

    instructions: tuple[str, ...]
    """Ways in which the task is put into words."""
    scenes: tuple[str, ...] = ("",)
    """How the scene is to be arranged; shown to the operator before the episode and stored in it."""
    subtasks: tuple[str, ...] = ()
    """Subtasks in their order, which the operator marks."""
    episodes: int = 1
    """Number of episodes for each instruction, scene and operator."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError without an instruction, a scene or an episode."""
        if not self.instructions or not all(one.strip() for one in self.instructions):
            raise InvalidValueError("instructions", self.instructions, "one or more instructions in words")
        if not self.scenes:
            raise InvalidValueError("scenes", self.scenes, "one or more prompts, or leave the key out")
        if self.episodes < 1:
            raise InvalidValueError("episodes", self.episodes, "1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Episodes of one operator, instruction and scene."""

    operator: str
    instruction: str
    scene: str
    subtasks: tuple[str, ...]
    episodes: int
    """Number of episodes to record."""

    @property
    def key(self) -> str:
        """Identity of the cell within its plan."""
        return " / ".join((self.operator, self.instruction, self.scene))

    def attributes(self, plan: str) -> Mapping[str, Any]:
        """Return the attributes of its episodes."""
        found: dict[str, Any] = {"task": self.instruction, SESSION: plan, CELL: self.key}
        if self.operator:
            found["operator"] = self.operator
        if self.scene:
            found[SCENE] = self.scene
        if self.subtasks:
            found["subtasks"] = list(self.subtasks)
        return found


@dataclass(frozen=True, kw_only=True)
class SessionPlan:
    """A plan of episodes."""

    name: str
    """Name of the session, stored in its episodes."""
    tasks: tuple[PlannedTask, ...]
    """The tasks."""
    operators: tuple[str, ...] = ("",)
    """The operators, one after the other."""
    order: Literal["interleaved", "blocks"] = "interleaved"
    """Order of an operator's cells: one episode of each in turn, so that a session that ends early is balanced; or all
    episodes of a cell, then the next one."""
    count: Literal["success", "saved"] = "success"
    """Episodes that count: successful ones, or all that are saved."""
    reset_s: float = 0.0
    """Time to arrange the scene between two episodes [s]; the next one does not start before."""
    start: Literal["key", "motion"] = "key"
    """Whether an episode is started by a key, or when the robot begins to move."""
    stop: Literal["key", "motion"] = "key"
    """Whether an episode is ended by a key, or when the robot has stood still; its outcome is then to be chosen."""
    still_s: float = 2.0
    """Time without motion that ends an episode [s]."""
    moving_rad: float = 0.03
    """Movement of a joint that counts as motion [rad]."""
    max_episode_s: float = 0.0
    """Duration at which an episode is ended [s]; 0 for no limit."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a plan that cannot be carried out."""
        if not self.name.strip():
            raise InvalidValueError("name", self.name, "a name of the session")
        if not self.tasks:
            raise InvalidValueError("tasks", self.tasks, "one or more tasks")
        if not self.operators:
            raise InvalidValueError("operators", self.operators, "one or more names, or leave the key out")
        for name in ("reset_s", "still_s", "moving_rad", "max_episode_s"):
            if not (math.isfinite(value := getattr(self, name)) and value >= 0):
                raise InvalidValueError(name, value, "a finite number that is not negative")
        cells = len(self.operators) * sum(len(task.instructions) * len(task.scenes) for task in self.tasks)
        if cells > MAX_CELLS:
            raise InvalidValueError("number of cells", cells, f"at most {MAX_CELLS}")
        if self.episodes > MAX_EPISODES:
            raise InvalidValueError("number of episodes", self.episodes, f"at most {MAX_EPISODES}")
        repeated = [key for key, times in Counter(cell.key for cell in self.cells).items() if times > 1]
        if repeated:
            expected = "each operator, instruction and scene once; add up their episodes"
            raise InvalidValueError("cell", repeated[0], expected)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells, grouped by operator."""
        return tuple(
            Cell(
                operator=operator,
                instruction=instruction,
                scene=scene,
                subtasks=task.subtasks,
                episodes=task.episodes,
            )
            for operator in self.operators
            for task in self.tasks
            for instruction, scene in itertools.product(task.instructions, task.scenes)
        )

    @property
    def episodes(self) -> int:
        """Number of episodes of the whole plan."""
        return sum(cell.episodes for cell in self.cells)

    def upcoming(self, done: Mapping[str, int]) -> list[Cell]:
        """Return the cell of each episode that is still to be recorded, in order.

        Args:
            done: Key of a cell -> number of its episodes that count.
        """
        found: list[Cell] = []
        for operator in self.operators:
            mine = [cell for cell in self.cells if cell.operator == operator]
            missing = {cell.key: max(0, cell.episodes - done.get(cell.key, 0)) for cell in mine}
            if self.order == "blocks":
                found += [cell for cell in mine for _ in range(missing[cell.key])]
                continue
            # The cells that are furthest behind come first.
            rounds = [(number, k) for k, cell in enumerate(mine) for number in range(1, missing[cell.key] + 1)]
            last = max((number for number, _ in rounds), default=0)
            ordered = sorted(rounds, key=lambda one: (last - missing[mine[one[1]].key] + one[0], one[1]))
            found += [mine[k] for _, k in ordered]
        return found
