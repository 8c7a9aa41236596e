"""The model card of a checkpoint: data, parents, settings, evaluations with their intervals, heat, license.

`README.md` is written beside the weights, where a hub shows it; `evaluations.json` keeps what it states about success.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waldo import __version__
from waldo.datasets.lerobot.dataset_card import OTHER_LICENSE
from waldo.datasets.lerobot.layout import LEROBOT_VERSION
from waldo.files import read_regular, write_atomic
from waldo.json_file import parse_json
from waldo.templates import load_template
from waldo.train.policies.contract import UNREADABLE, read_contract

if TYPE_CHECKING:
    from waldo.sim.evaluation.results import EvalResult

TEMPLATE = Path(__file__).with_name("model_card.md.jinja")

CARD_FILE, EVALUATIONS_FILE = "README.md", "evaluations.json"

SETTINGS = ("steps", "batch_size", "seed")
"""Options of lerobot-train that a card states."""

POLICY_SETTINGS = ("chunk_size", "n_action_steps", "optimizer_lr", "device")
"""Options of the policy that a card states."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a card states about an evaluation."""

    task: str
    """Name of the task."""
    episodes: int
    """Number of episodes."""
    first_seed: int
    """Seed of the first one."""
    successes: int
    """Episodes that reached their goal."""
    low: float
    """Lower end of the 95 % Wilson interval of the success rate."""
    high: float
    """Upper end of the interval."""
    max_winding_c: float
    """Maximum winding temperature of any motor [°C]."""
    joint: str
    """The joint of that motor."""


def evaluation_of(result: EvalResult) -> Evaluation:
    """Return what a card states about a result."""
    motor = max(result.motors, key=lambda one: one.max_winding_c)
    return Evaluation(
        task=result.config.task,
        episodes=len(result.seeds),
        first_seed=result.config.first_seed,
        successes=result.successes,
        low=result.wilson_95[0],
        high=result.wilson_95[1],
        max_winding_c=motor.max_winding_c,
        joint=motor.joint,
    )


def write_card(folder: Path, *, license: str = "") -> None:
    """Write the model card of a checkpoint from the files in its folder.

    Args:
        folder: The `pretrained_model` folder.
        license: License of the weights, such as "apache-2.0"; empty to keep that of the present card.
    """
    training, policy = _read(folder / "train_config.json"), _read(folder / "config.json")
    contract = read_contract(folder)
    step = _read(folder.parent / "training_state" / "training_step.json").get("step", "unknown")
    parent = _text(policy.get("pretrained_path"))
    license = license or _license(folder)
    own: Mapping[str, Any] = training.get("policy") or policy
    settings = {key: training[key] for key in SETTINGS if key in training}
    settings |= {f"policy.{key}": own[key] for key in POLICY_SETTINGS if key in own}
    kind = _text(policy.get("type")) or "unknown"
    front = {
        "license": license or OTHER_LICENSE,
        "tags": ["LeRobot", "waldo", "robotics", kind],
        "base_model": parent if parent and not Path(parent).is_absolute() else "",
    }
    text = load_template(TEMPLATE).render(
        # JSON is valid YAML and escapes any character that a name may contain.
        front={key: json.dumps(value, ensure_ascii=False) for key, value in front.items()},
        name=_name(folder),
        type=kind,
        version=__version__,
        lerobot_version=LEROBOT_VERSION,
        step=step,
        contract=contract,
        parent=parent,
        license=license,
        evaluations=_evaluations(folder),
        settings=settings,
    )
    write_atomic(folder / CARD_FILE, text)


def add_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Add an evaluation to a checkpoint and its card; one of the same seeds is replaced."""
    same = (evaluation.task, evaluation.first_seed, evaluation.episodes)
    kept = [one for one in _evaluations(folder) if (one["task"], one["first_seed"], one["episodes"]) != same]
    write_atomic(folder / EVALUATIONS_FILE, json.dumps([*kept, asdict(evaluation)], indent=2) + "\n")
    write_card(folder)


def _name(folder: Path) -> str:
    """Return the names of the training and of its step: "pick-keypoint_vla 003000"."""
    parts = folder.resolve().parts
    return f"{parts[-4]} {parts[-2]}" if len(parts) > 4 and parts[-3] == "checkpoints" else parts[-1]


def _evaluations(folder: Path) -> list[dict[str, Any]]:
    with suppress(*UNREADABLE):
        found = parse_json(read_regular(folder / EVALUATIONS_FILE))
        return [asdict(Evaluation(**one)) for one in found]
    return []


def _license(folder: Path) -> str:
    """Return the license that the present card states; empty if none."""
    with suppress(*UNREADABLE):
        for line in read_regular(folder / CARD_FILE).decode().splitlines():
            if line.startswith("license: "):
                stated = json.loads(line.removeprefix("license: "))
                return "" if stated == OTHER_LICENSE else str(stated)
    return ""


def _read(path: Path) -> dict[str, Any]:
    with suppress(*UNREADABLE):
        return dict(parse_json(read_regular(path)))
    return {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
