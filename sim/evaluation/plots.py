"""Plots of an evaluation report, as matplotlib figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from waldo.sim.evaluation.results import EvalResult, MotorHeat, success_interval

INK, MUTED, GRID = "#1c2733", "#66727f", "#e3e8ed"
GOOD, BAD, WARM = "#1f8a5b", "#c8412f", "#e08a1e"
COLORS = ("#2b6cb0", "#dd6b20", "#2f855a", "#805ad5", "#b83280", "#319795", "#975a16", "#4a5568")
SHOWN_MOTORS = 12
"""Number of motors in the load plot, the warmest ones."""


def plot_winding(result: EvalResult) -> Any:
    """Return the winding temperatures over time: mean as a line, maximum as the edge of a band."""
    figure, axis = _axes(5.6, 3.0)
    seconds = np.array(result.series.seconds)
    mean, highest = np.array(result.series.mean_winding_c), np.array(result.series.max_winding_c)
    order = np.argsort(-highest[-1]) if len(highest) else range(0)
    for rank, motor in enumerate(order):
        color = COLORS[rank] if rank < len(COLORS) - 1 else GRID
        label = result.motors[motor].joint if rank < len(COLORS) - 1 else None
        axis.plot(seconds, mean[:, motor], color=color, linewidth=1.6, label=label)
        axis.fill_between(seconds, mean[:, motor], highest[:, motor], color=color, alpha=0.12, linewidth=0)
    axis.set_xlabel("time in the episode [s]")
    axis.set_ylabel("winding [°C]")
    axis.legend(frameon=False, loc="upper left", fontsize=8)
    return figure


def plot_load(motors: list[MotorHeat]) -> Any:
    """Return each motor's thermal utilization, and its steady winding temperature."""
    shown = sorted(motors, key=lambda m: m.steady_winding_c)[-SHOWN_MOTORS:]
    figure, axes = _axes(11.6, 0.9 + 0.27 * len(shown), columns=2)
    rows = np.arange(len(shown))
    ratios = [m.utilization_ratio or 0.0 for m in shown]
    axes[0].barh(rows, ratios, height=0.62, color=[BAD if r > 1 else WARM if r > 0.8 else GOOD for r in ratios])
    axes[0].axvline(1, color=INK, linewidth=1, linestyle="--")
    axes[0].set_yticks(rows, [m.joint for m in shown])
    axes[0].set_xlabel("steady rise / rise to the limit")
    axes[1].barh(rows, [m.steady_winding_c for m in shown], height=0.62, color=COLORS[0])
    limits = [m.limit_c if m.limit_c is not None else np.nan for m in shown]
    axes[1].scatter(limits, rows, marker="|", s=120, color=BAD, label="limit", zorder=3)
    axes[1].set_yticks(rows, [""] * len(shown))
    axes[1].set_xlabel("winding after indefinite repetition [°C]")
    axes[1].legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 0.98), fontsize=8)
    for axis in axes:
        axis.grid(axis="y", visible=False)
    return figure


def plot_success(result: EvalResult) -> Any:
    """Return the fraction of successful episodes over time, with its 95 % Wilson interval."""
    figure, axis = _axes(5.6, 3.0)
    done = np.sort([s for s, ok in zip(result.seconds, result.success, strict=True) if ok])
    total = len(result.seeds)
    end = max(result.seconds)
    times = np.concatenate([[0.0], done, [end]])
    counts = np.concatenate([[0], np.arange(1, len(done) + 1), [len(done)]])
    bounds = np.array([success_interval(int(c), total) for c in counts])
    axis.fill_between(
        times, 100 * bounds[:, 0], 100 * bounds[:, 1], step="post", color=COLORS[0], alpha=0.15, linewidth=0
    )
    axis.step(times, 100 * counts / total, where="post", color=COLORS[0], linewidth=1.8)
    axis.set_ylim(0, 102)
    axis.set_xlim(0, end)
    axis.set_xlabel("time in the episode [s]")
    axis.set_ylabel("goal reached [%]")
    return figure


def _axes(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """Return a figure without a window and its axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 9,
        "font.family": "DejaVu Sans",
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "svg.hashsalt": "waldo",
    }
    mpl.rcParams.update(style)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes: Any = figure.subplots(1, columns)
    for axis in np.atleast_1d(axes):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
    return figure, axes
