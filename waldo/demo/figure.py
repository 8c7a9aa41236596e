"""The figure that summarizes a demo: camera images, commanded and measured positions, motor heat and success."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from waldo.datasets import schema
from waldo.files import atomic_file

INK, FAINT = "#1d2733", "#8a97a6"
COLORS = ("#2f6fde", "#e0823d", "#2a9d6f", "#c6463f", "#7f5bc4", "#8c6d46")


def draw(folder: Path, out: Path) -> None:
    """Draw the first successful episode and the evaluation of the demo in `folder`, and write a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    from waldo.datasets.dataset import Dataset

    dataset = Dataset.open(folder / "dataset")
    episode = next((e for e in dataset.episodes if e.outcome == "success"), dataset.episodes[0])
    report = json.loads((folder / "evaluation" / "report.json").read_text())
    style: dict[Any, Any] = {
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": FAINT,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(style):
        figure = plt.figure(figsize=(12.5, 6.0), dpi=120, facecolor="white")
        rows = figure.add_gridspec(
            2, 1, height_ratios=(1, 1.25), hspace=0.16, left=0.05, right=0.98, top=0.92, bottom=0.09
        )
        _cameras(figure, rows[0].subgridspec(1, 5, wspace=0.04), episode)
        plots = rows[1].subgridspec(1, 3, wspace=0.38, width_ratios=(1.35, 1, 0.8))
        _joints(figure.add_subplot(plots[0]), episode)
        _heat(figure.add_subplot(plots[1]), report)
        _success(figure.add_subplot(plots[2]), report)
        lost = sum(episode.lost(name) for episode in dataset.episodes for name in episode.streams)
        summary = f"one of {len(dataset.episodes)} episodes recorded over DDS, {lost} messages lost"
        title = f"“{episode.task}”: {summary}"
        figure.suptitle(title, x=0.05, y=0.975, ha="left", fontsize=12, fontweight="bold")
        with atomic_file(out) as partial:
            figure.savefig(partial, format="png")
        plt.close(figure)


def _cameras(figure: Any, grid: Any, episode: Any) -> None:
    """Show five frames of the first camera."""
    cameras = list(episode.cameras)
    if not cameras:
        axes = figure.add_subplot(grid[:])
        axes.text(0.5, 0.5, "recorded without cameras", ha="center", va="center", color=FAINT)
        axes.axis("off")
        return
    stamps = episode.time_ns(cameras[0], "header")
    chosen = np.linspace(0, len(stamps) - 1, 5).astype(int)
    for column, (index, frame) in enumerate(zip(chosen, episode.frames(cameras[0], chosen), strict=True)):
        axes = figure.add_subplot(grid[column])
        axes.imshow(frame)
        axes.axis("off")
        axes.set_title(f"{(stamps[index] - stamps[0]) / 1e9:.1f} s", fontsize=8, color=FAINT, pad=3)


def _joints(axes: Any, episode: Any) -> None:
    """Plot the commanded and measured position of each joint."""
    start = episode.time_ns(schema.STATE, "header")[0]
    state_s = (episode.time_ns(schema.STATE, "header") - start) / 1e9
    command_s = (episode.time_ns(schema.COMMAND, "header") - start) / 1e9
    names = episode.field(schema.STATE, "position").labels
    state, command = episode.values(schema.STATE, "position"), episode.values(schema.COMMAND, "position")
    for i, name in enumerate(names):
        axes.plot(state_s, state[:, i], color=COLORS[i % len(COLORS)], linewidth=1.4, label=name)
        axes.plot(command_s, command[:, i], color=COLORS[i % len(COLORS)], linewidth=0.8, linestyle=":")
    axes.set_title("joint positions: measured (solid), commanded (dotted) [rad]", loc="left", fontsize=9.5)
    axes.set_xlabel("time [s]")
    axes.legend(fontsize=7, ncols=2, frameon=False, loc="best")


def _heat(axes: Any, report: Any) -> None:
    """Plot the maximum winding temperature of each motor in the evaluation, and the limit."""
    motors = report["motors"]
    names = [motor["joint"] for motor in motors]
    # Reports of older versions name the value peak_winding_c.
    peaks = [motor.get("max_winding_c", motor.get("peak_winding_c")) for motor in motors]
    axes.barh(names, peaks, color=[COLORS[i % len(COLORS)] for i in range(len(names))], height=0.6)
    for name, peak in zip(names, peaks, strict=True):
        axes.text(peak, name, f" {peak:.1f}", va="center", fontsize=8)
    limits = [motor["limit_c"] for motor in motors if motor.get("limit_c")]
    if limits:
        axes.axvline(min(limits), color="#c6463f", linewidth=1, linestyle="--")
        axes.text(min(limits), -0.75, "limit", color="#c6463f", fontsize=8, ha="center")
    axes.invert_yaxis()
    axes.set_title("maximum winding temperature [°C]", loc="left", fontsize=9.5)


def _success(axes: Any, report: Any) -> None:
    """Plot the success rate on unseen seeds with its confidence interval."""
    success = report["success"]
    rate = sum(success) / len(success)
    low, high = report["wilson_95"]
    axes.bar([0], [100 * rate], width=0.5, color=COLORS[2])
    axes.errorbar([0], [100 * rate], [[100 * (rate - low)], [100 * (high - rate)]], color=INK, capsize=5)
    axes.set_xlim(-0.8, 0.8)
    axes.set_ylim(0, 105)
    axes.set_xticks([])
    # Off the axis, which crosses the text at 0 %, and inside the frame.
    height = min(max(100 * rate, 4), 100)
    axes.text(0.34, height, f"{sum(success)} of {len(success)}", va="center", fontsize=10, fontweight="bold")
    axes.set_title("success on unseen seeds [%]", loc="left", fontsize=9.5)
