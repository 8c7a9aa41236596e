"""The rate of a checkpoint: its own record, else that of the dataset, else the default."""

import json
from pathlib import Path

from waldo.train.policies.checkpoint import DEFAULT_FPS, training_fps, write_fps


def test_the_rate_is_recorded_in_the_checkpoint_or_read_from_the_dataset(tmp_path: Path) -> None:
    assert training_fps(tmp_path) == DEFAULT_FPS
    (tmp_path / "data" / "meta").mkdir(parents=True)
    (tmp_path / "data" / "meta" / "info.json").write_text(json.dumps({"fps": 10}))
    (tmp_path / "train_config.json").write_text(json.dumps({"dataset": {"root": str(tmp_path / "data")}}))
    assert training_fps(tmp_path) == 10.0
    write_fps(tmp_path, 20.0)
    assert training_fps(tmp_path) == 20.0
