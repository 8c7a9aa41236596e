"""Evaluation: success, motor heat, time series and videos."""

import av
import numpy as np
import pytest

from tests.machine import GL
from waldo.errors import InvalidValueError
from waldo.graphics import NoGraphicsError
from waldo.sim.evaluation.evaluate import evaluate
from waldo.sim.evaluation.results import EvalConfig, success_interval
from waldo.sim.experts.expert import ExpertPolicy
from waldo.sim.policy import Policy
from waldo.sim.world import World


class Still:
    """A policy that holds its position."""

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


def test_successes_are_counted(result):
    found, _ = result
    assert found.seeds == list(range(100_000, 100_006))
    assert found.successes == sum(found.success) == 6
    assert found.rate == 1.0
    assert found.wilson_95 == success_interval(6, 6)
    assert all(2.0 < seconds < 6.0 for seconds in found.seconds)
    assert found.instruction == "lift the red cube"


def test_every_motor_has_load_and_heat(result):
    found, _ = result
    assert [motor.joint for motor in found.motors] == list(World("lift").robot.joint_names)
    for motor in found.motors:
        assert 25.0 < motor.mean_max_winding_c <= motor.max_winding_c < 70
        assert 0 < motor.duty_percent <= 100
        assert motor.joules > 0
        assert motor.thermal_basis == "fitted"
        mean_loss = motor.joules * 6 / sum(found.seconds)
        assert motor.steady_winding_c == pytest.approx(25 + mean_loss * (6.1 + 7.9))
        assert motor.utilization_ratio == pytest.approx((motor.steady_winding_c - 25) / (motor.limit_c - 25))
        assert motor.utilization_ratio < 1
        assert motor.seconds_to_limit is None
    lift, roll = found.motors[1], found.motors[4]
    assert lift.joules > 3 * roll.joules  # gravity


def test_series_cover_the_longest_episode(result):
    found, _ = result
    winding = np.array(found.series.max_winding_c)
    assert winding.shape == (len(found.series.seconds), 6)
    assert found.series.seconds[-1] == pytest.approx(max(found.seconds), abs=0.11)
    assert np.all(winding >= np.array(found.series.mean_winding_c) - 1e-9)


def test_the_video_plays_in_browsers(result):
    found, out = result
    if not found.videos:
        pytest.skip(GL)
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


def test_a_policy_receives_lerobot_keys_and_acts_at_its_own_rate():
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


def test_the_size_of_a_batch_does_not_matter():
    def seconds(worlds):
        return evaluate(ExpertPolicy, EvalConfig(episodes=3, worlds=worlds, videos=0)).seconds

    assert seconds(2) == seconds(3)


def test_motors_can_start_warm():
    found = evaluate(Still(), EvalConfig(episodes=1, horizon_s=0.5, start_c=55.0, videos=0))
    assert all(54.0 < motor.max_winding_c < 56.0 for motor in found.motors)


def test_a_rate_that_does_not_divide_the_control_rate_is_rejected():
    policy = Still()
    policy.fps = 25.0
    with pytest.raises(InvalidValueError) as error:
        evaluate(policy, EvalConfig(episodes=1, videos=0))
    assert str(error.value) == "fps is 25.0, expected a divisor of the control rate 60"
