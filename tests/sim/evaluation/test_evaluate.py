"""Evaluation and its report: what is counted, what is written."""

import base64
import dataclasses
import json
import re

import av
import numpy as np
import pytest

from waldo.errors import ConfigError
from waldo.sim.camera import NoGraphicsError
from waldo.sim.evaluation.evaluate import EvalConfig, evaluate
from waldo.sim.evaluation.intervals import wilson
from waldo.sim.evaluation.report import write_report
from waldo.sim.experts.expert import ExpertPolicy
from waldo.sim.policy import Policy
from waldo.sim.world import World


class Still:
    """A policy that holds where it is."""

    fps = 30.0
    image_keys: tuple[str, ...] = ()

    def __init__(self):
        self.seen = []
        self.resets = 0

    def reset(self, which=None):
        self.resets += 1

    def act(self, observation):
        self.seen.append(observation)
        return observation["observation.state"]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    videos = 1
    try:
        world = World("lift")
        world.render(0, "front", (32, 24))
        world.close()
    except NoGraphicsError:
        videos = 0
    config = EvalConfig(task="lift", episodes=6, threads=2, videos=videos, video_size=(160, 120))
    return evaluate(ExpertPolicy, config, out, name="expert"), out


def test_the_expert_succeeds_and_is_counted(result):
    found, _ = result
    assert found.seeds == list(range(100_000, 100_006))
    assert found.successes == sum(found.success) == 6
    assert found.rate == 1.0
    assert found.wilson_95 == wilson(6, 6)
    assert all(2.0 < seconds < 6.0 for seconds in found.seconds)
    assert found.instruction == "lift the red cube"


def test_every_motor_is_accounted_for(result):
    found, _ = result
    assert [motor.joint for motor in found.motors] == list(World("lift").robot.joint_names)
    for motor in found.motors:
        assert 25.0 < motor.mean_peak_winding_c <= motor.peak_winding_c < 70
        assert 0 < motor.duty_percent <= 100
        assert motor.joules > 0
        assert motor.utilization_ratio == pytest.approx(motor.equivalent_torque_nm / 0.49)
        assert motor.thermal_basis == "assumed"
        mean_loss = motor.joules * 6 / sum(found.seconds)
        assert motor.steady_winding_c == pytest.approx(25 + mean_loss * (4.0 + 2.8))
        assert motor.seconds_to_limit is None
    lift, roll = found.motors[1], found.motors[4]
    assert lift.joules > 3 * roll.joules  # gravity


def test_series_cover_the_longest_episode(result):
    found, _ = result
    winding = np.array(found.series.peak_winding_c)
    assert winding.shape == (len(found.series.seconds), 6)
    assert found.series.seconds[-1] == pytest.approx(max(found.seconds), abs=0.11)
    assert np.all(winding >= np.array(found.series.mean_winding_c) - 1e-9)


def test_the_video_plays_in_browsers(result):
    found, out = result
    if not found.videos:
        pytest.skip("no GL back end")
    assert list(found.videos.values()) == ["seed-100000.mp4"]
    path = out / "seed-100000.mp4"
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, float(stream.average_rate)) == (160, 120, 30.0)
        frames = sum(1 for _ in container.decode(stream))
    assert frames == pytest.approx((found.seconds[0] + 0.5) * 30, abs=2)


def test_the_report_says_what_was_found(result):
    found, out = result
    page = write_report(found, out)
    values = json.loads((out / "report.json").read_text())
    assert (values["successes"], values["rate"], values["policy"]) == (6, 1.0, "expert")
    assert values["wilson_95"] == list(found.wilson_95)
    assert values["motors"][0]["joint"] == "shoulder_pan"
    assert values["config"]["episodes"] == 6
    text = page.read_text()
    assert page.name == "report.html"
    assert "expert on lift" in text
    assert "success, 6 of 6" in text
    assert text.count('<i class="ok"') == 6
    assert "61.0–100.0" in text
    assert "$" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    for source in re.findall(r'src="([^"]+)"', text):
        assert source.startswith("data:")
        base64.b64decode(source.partition("base64,")[2], validate=True)


def test_a_report_of_failures_is_written_too(tmp_path):
    found = evaluate(Still(), EvalConfig(episodes=2, horizon_s=0.5, videos=0))
    page = write_report(found, tmp_path).read_text()
    assert "success, 0 of 2" in page
    assert page.count('<i class="no"') == 2


def test_a_limit_in_reach_is_named(tmp_path):
    found = evaluate(Still(), EvalConfig(episodes=1, horizon_s=0.5, videos=0))
    hot = dataclasses.replace(found.motors[5], seconds_to_limit=240.0)
    found = dataclasses.replace(found, motors=[*found.motors[:5], hot])
    assert "takes <b>gripper</b> to its limit of 70 °C in <b>4.0 min</b>" in write_report(found, tmp_path).read_text()


def test_a_policy_sees_lerobots_keys_and_acts_at_its_own_rate():
    policy = Still()
    assert isinstance(policy, Policy)
    found = evaluate(policy, EvalConfig(task="sort", episodes=3, horizon_s=1.0, videos=0))
    assert (policy.resets, len(policy.seen)) == (1, 30)
    first = policy.seen[0]
    assert set(first) == {"observation.state", "observation.environment_state", "task"}
    assert first["observation.state"].shape == (3, 6)
    assert first["observation.environment_state"].shape == (3, 26)
    assert all(text.startswith("put the ") for text in first["task"])
    assert found.success == [False] * 3
    assert found.seconds == [1.0] * 3


def test_batches_are_as_good_as_one():
    def seconds(worlds):
        return evaluate(ExpertPolicy, EvalConfig(episodes=3, worlds=worlds, videos=0)).seconds

    assert seconds(2) == seconds(3)


def test_motors_can_start_warm():
    found = evaluate(Still(), EvalConfig(episodes=1, horizon_s=0.5, start_c=55.0, videos=0))
    assert all(54.0 < motor.peak_winding_c < 56.0 for motor in found.motors)


def test_a_rate_that_does_not_divide_is_refused():
    policy = Still()
    policy.fps = 25.0
    with pytest.raises(ConfigError) as error:
        evaluate(policy, EvalConfig(episodes=1, videos=0))
    assert str(error.value) == "fps is 25.0, expected a divisor of the control rate 60"


def test_no_episodes_are_refused():
    with pytest.raises(ConfigError) as error:
        EvalConfig(episodes=0)
    assert str(error.value) == "episodes is 0, expected a number from 1"
