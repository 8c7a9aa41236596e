"""The plots of a report show the numbers of the result, with labels and units."""

import numpy as np
import pytest

from waldo.sim.evaluation.evaluate import evaluate
from waldo.sim.evaluation.plots import plot_load, plot_success, plot_winding
from waldo.sim.evaluation.results import EvalConfig, EvalResult, success_interval
from waldo.sim.experts.expert import ExpertPolicy


@pytest.fixture(scope="module")
def result() -> EvalResult:
    return evaluate(ExpertPolicy, EvalConfig(task="lift", episodes=2, threads=2, videos=0))


def test_winding_temperatures_are_lines_with_bands_to_the_maximum(result: EvalResult) -> None:
    (axis,) = plot_winding(result).axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("time in the episode [s]", "winding [°C]")
    joints = [motor.joint for motor in result.motors]
    assert {text.get_text() for text in axis.get_legend().get_texts()} == set(joints)
    mean, highest = np.array(result.series.mean_winding_c), np.array(result.series.max_winding_c)
    for line, band in zip(axis.lines, axis.collections, strict=True):
        motor = joints.index(str(line.get_label()))
        np.testing.assert_allclose(line.get_xdata(), result.series.seconds)
        np.testing.assert_allclose(line.get_ydata(), mean[:, motor])
        edge = band.get_paths()[0].vertices[:, 1]
        assert (edge.min(), edge.max()) == (mean[:, motor].min(), highest[:, motor].max())


def test_load_is_a_bar_for_each_motor_beside_its_limit(result: EvalResult) -> None:
    utilization, steady = plot_load(result.motors).axes
    shown = sorted(result.motors, key=lambda motor: motor.steady_winding_c)
    assert [text.get_text() for text in utilization.get_yticklabels()] == [motor.joint for motor in shown]
    assert [bar.get_width() for bar in utilization.patches] == [motor.utilization_ratio for motor in shown]
    assert utilization.lines[0].get_xdata() == [1, 1]
    assert utilization.get_xlabel() == "steady rise / rise to the limit"
    assert [bar.get_width() for bar in steady.patches] == [motor.steady_winding_c for motor in shown]
    limits = steady.collections[0].get_offsets()
    np.testing.assert_array_equal(limits, [[motor.limit_c, row] for row, motor in enumerate(shown)])
    assert steady.get_xlabel() == "winding after indefinite repetition [°C]"
    assert [text.get_text() for text in steady.get_legend().get_texts()] == ["limit"]
    assert [text.get_text() for text in steady.get_yticklabels()] == [""] * len(shown)


def test_success_is_a_step_at_each_episode_within_its_interval(result: EvalResult) -> None:
    (axis,) = plot_success(result).axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("time in the episode [s]", "goal reached [%]")
    (line,) = axis.lines
    end = max(result.seconds)
    assert list(line.get_xdata()) == [0.0, *sorted(result.seconds), end]
    assert list(line.get_ydata()) == [0, 50, 100, 100]
    assert (axis.get_xlim(), axis.get_ylim()) == ((0, end), (0, 102))
    edge = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert (edge.min(), edge.max()) == pytest.approx((0, 100 * success_interval(2, 2)[1]), abs=1e-9)
