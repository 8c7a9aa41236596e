"""Evaluation in the loop that drives a robot: the real commands, in simulated time, with a stated latency."""

from __future__ import annotations

import math

import numpy as np
import pytest

from waldo.cli.policies.eval import Evaluate
from waldo.errors import InvalidValueError, MissingOptionError, UnsupportedOptionError
from waldo.train.runner.policy_loop import LoopConfig
from waldo.train.runner.through_ros import LoopSettings, RosResult


def result(success: list[bool]) -> RosResult:
    settings = LoopSettings(
        latency_s=0.05, chunk=30, replan_s=0.5, blend_s=0.2, action_hz=30.0, control_hz=60.0, rtc=False
    )
    return RosResult(
        seeds=list(range(len(success))),
        success=success,
        seconds=[1.0] * len(success),
        wilson_95=(0.2, 0.9),
        max_winding_c={"a": 40.0},
        settings=settings,
        chunks=3,
        jumps=(0.1, 1.0),
    )


def test_a_result_states_its_settings() -> None:
    values = result([True, False]).as_json()
    assert values["rate"] == 0.5
    assert values["settings"] == {
        "latency_s": 0.05,
        "chunk": 30,
        "replan_s": 0.5,
        "blend_s": 0.2,
        "action_hz": 30.0,
        "control_hz": 60.0,
        "rtc": False,
    }
    assert np.isfinite([values["rate"], *values["jumps"]]).all()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"latency": 0.1}, MissingOptionError),
        ({"loop": LoopConfig(blend=0.5)}, MissingOptionError),
        ({"through_ros": True}, UnsupportedOptionError),
        ({"through_ros": True, "policy": "x", "instruction": "lift it"}, UnsupportedOptionError),
        ({"through_ros": True, "policy": "x", "wrong_instruction": True, "task": "pick"}, UnsupportedOptionError),
        ({"through_ros": True, "policy": "x", "latency": math.nan}, InvalidValueError),
        ({"through_ros": True, "policy": "x", "latency": -1.0}, InvalidValueError),
        ({"card": True}, UnsupportedOptionError),
    ],
)
def test_options_that_have_no_effect_are_refused(options: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        Evaluate(**options).check()  # type: ignore[arg-type]
