import json
from pathlib import Path

import pytest

from waldo.errors import ConfigError, FileError
from waldo.train.policies.names import policy_names
from waldo.train.train_config import TrainConfig, plan_training


def info(folder: Path, *keys: str, version: str = "v3.0") -> Path:
    shapes = {"observation.state": [6], "observation.environment_state": [8], "action": [6]}
    features = {key: {"dtype": "float32", "shape": shapes.get(key, [120, 160, 3])} for key in keys}
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps({"codebase_version": version, "fps": 30, "features": features}))
    return folder


STATE, ENVIRONMENT, FRONT = "observation.state", "observation.environment_state", "observation.images.front"


def plan(folder: Path, **options: object):
    return plan_training(TrainConfig(dataset=folder, output=folder / "out", device="cpu", **options))


def test_without_cameras_a_small_act_learns_from_memory(tmp_path: Path) -> None:
    made = plan(info(tmp_path / "d", STATE, ENVIRONMENT, "action"))
    assert (made.memory, made.inputs, made.preset) == (True, "state", "small")
    assert (
        '--policy.input_features={"observation.state": {"type": "STATE", "shape": [6]}, '
        + ('"observation.environment_state": {"type": "ENV", "shape": [8]}}')
        in made.arguments
    )
    assert "--num_workers=0" in made.arguments
    assert '"ENV": "MEAN_STD"' in next(a for a in made.arguments if "normalization" in a)


def test_with_cameras_only_a_policy_sees_pictures_and_no_ground_truth(tmp_path: Path) -> None:
    made = plan(info(tmp_path / "d", STATE, ENVIRONMENT, FRONT, "action"), inputs="images")
    assert made.memory is False
    features = next(a for a in made.arguments if "input_features" in a)
    assert features.endswith('"observation.images.front": {"type": "VISUAL", "shape": [3, 120, 160]}}')
    assert "ENV" not in features


def test_the_user_s_options_win_over_the_preset(tmp_path: Path) -> None:
    folder = info(tmp_path / "d", STATE, ENVIRONMENT, "action")
    made = plan(folder, options=("--policy.dim_model=256", "--batch_size=8"))
    assert [a for a in made.arguments if "dim_model" in a or "batch_size" in a] == [
        "--policy.dim_model=256",
        "--batch_size=8",
    ]
    pretrained = plan(folder, options=("--policy.path=somewhere",))
    assert not any(a.startswith("--policy.type") for a in pretrained.arguments)


def test_another_policy_gets_lerobot_s_own_defaults(tmp_path: Path) -> None:
    folder = info(tmp_path / "d", STATE, ENVIRONMENT, "action")
    assert plan(folder, policy="diffusion").preset == "lerobot"
    with pytest.raises(ConfigError) as caught:
        plan(folder, policy="diffusion", preset="small")
    expected = "preset is 'small', expected 'lerobot' for the policy 'diffusion': the small preset is for act"
    assert str(caught.value) == expected


def test_what_a_dataset_cannot_give_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(info(tmp_path / "a", STATE, ENVIRONMENT, "action"), inputs="images")
    assert str(caught.value) == "inputs is 'images', expected 'state', as the dataset has no cameras"
    with pytest.raises(ConfigError) as caught:
        plan(info(tmp_path / "b", STATE, "action"))
    found = "a camera or observation.environment_state beside it, which ACT needs"
    assert str(caught.value) == f"inputs is 'observation.state alone', expected {found}"
    old = info(tmp_path / "c", STATE, version="v2.1")
    with pytest.raises(FileError) as file_error:
        plan(old)
    expected = "is of version v2.1, expected v3.0; convert it with LeRobot's own converter"
    assert str(file_error.value) == f"{old / 'meta/info.json'}: {expected}"


def test_policy_names_are_lerobot_s_own() -> None:
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies import factory

    assert factory is not None  # importing it registers them all
    assert set(policy_names()) == set(PreTrainedConfig.get_known_choices())
