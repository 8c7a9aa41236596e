"""Write an evaluation down: `report.json` for programs, `report.html` for people, in one file with plots and videos."""

from __future__ import annotations

import base64
import dataclasses
import html
import importlib.resources
import io
import json
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from waldo import __version__
from waldo.sim.evaluation.evaluate import EvalResult, MotorHeat
from waldo.sim.evaluation.intervals import wilson

EMBED_BYTES = 4_000_000
"""Videos up to this size are put into the page; larger ones are linked [bytes]."""
INK, MUTED, GRID = "#1c2733", "#66727f", "#e3e8ed"
GOOD, BAD, WARM = "#1f8a5b", "#c8412f", "#e08a1e"
COLOURS = ("#2b6cb0", "#dd6b20", "#2f855a", "#805ad5", "#b83280", "#319795", "#975a16", "#4a5568")


def write_report(result: EvalResult, out: Path) -> Path:
    """Write `report.json` and `report.html` into the folder `out`, beside the videos; return the page's path."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(as_json(result), indent=2, allow_nan=False) + "\n")
    page = out / "report.html"
    page.write_text(render_page(result, out))
    return page


def as_json(result: EvalResult) -> dict[str, Any]:
    """Return the result as JSON-able values."""
    values = dataclasses.asdict(result)
    values["videos"] = {str(seed): name for seed, name in result.videos.items()}
    return {"waldo": __version__, "successes": result.successes, "rate": result.rate, **values}


def render_page(result: EvalResult, out: Path) -> str:
    """Return the page; `out` is where the videos lie."""
    template = Template((importlib.resources.files("waldo.sim.evaluation") / "report_page.html").read_text())
    low, high = result.wilson_95
    exact_low, exact_high = result.clopper_pearson_95
    done = [s for s, ok in zip(result.seconds, result.success, strict=True) if ok]
    hottest = max(result.motors, key=lambda m: m.peak_winding_c)
    return template.substitute(
        title=html.escape(f"{result.policy} on {result.config.task}"),
        robot=html.escape(result.robot),
        instruction=html.escape(result.instruction),
        version=__version__,
        rate=f"{100 * result.rate:.0f}",
        successes=result.successes,
        episodes=len(result.seeds),
        first_seed=result.seeds[0],
        last_seed=result.seeds[-1],
        wilson=f"{100 * low:.1f}–{100 * high:.1f}",
        exact=f"{100 * exact_low:.1f}–{100 * exact_high:.1f}",
        seconds=f"{np.median(done):.1f} s" if done else "–",
        hottest=f"{hottest.peak_winding_c:.1f}",
        hottest_joint=html.escape(hottest.joint),
        start=f"{result.config.start_c:.0f}",
        limiting=_limiting(result.motors),
        seeds=_seed_cells(result),
        rows="\n".join(_row(motor) for motor in result.motors),
        winding=_image(_plot_winding(result), "Winding temperature over time"),
        load=_image(_plot_load(result.motors), "Torque utilisation and steady winding temperature"),
        curve=_image(_plot_success(result), "Success over time"),
        videos="\n".join(_video(result, out, seed, name) for seed, name in result.videos.items()),
        basis=_basis(result.motors),
        wall=f"{result.wall_s:.1f}",
    )


def _limiting(motors: list[MotorHeat]) -> str:
    """Say in a sentence how long the work can go on."""
    timed = [(m.seconds_to_limit, m) for m in motors if m.seconds_to_limit is not None]
    if timed:
        seconds, motor = min(timed, key=lambda pair: pair[0])
        return (
            f"Repeated without a break, this work takes <b>{html.escape(motor.joint)}</b> to its limit of "
            f"{motor.limit_c:.0f} °C in <b>{seconds / 60:.1f} min</b>."
        )
    warmest = max(motors, key=lambda m: m.steady_winding_c)
    return (
        f"Repeated without a break, this work warms <b>{html.escape(warmest.joint)}</b> the most, to a steady "
        f"<b>{warmest.steady_winding_c:.0f} °C</b>; no motor reaches its limit."
    )


def _basis(motors: list[MotorHeat]) -> str:
    bases = sorted({m.thermal_basis for m in motors})
    text = f"Thermal constants: {', '.join(bases)}."
    if "assumed" in bases:
        text += " Assumed constants rank motors and policies; absolute temperatures need a fit to your own motors."
    return text


def _seed_cells(result: EvalResult) -> str:
    cells: list[str] = []
    for seed, ok, seconds in zip(result.seeds, result.success, result.seconds, strict=True):
        what = f"seed {seed}: {'reached' if ok else 'not reached'} after {seconds:.1f} s"
        cells.append(f'<i class="{"ok" if ok else "no"}" title="{what}"></i>')
    return "".join(cells)


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def _row(motor: MotorHeat) -> str:
    over = motor.utilization_ratio is not None and motor.utilization_ratio > 1
    limit = None if motor.seconds_to_limit is None else motor.seconds_to_limit / 60
    cells = (
        f"<td><b>{html.escape(motor.joint)}</b><small>{html.escape(motor.motor)}</small></td>",
        f"<td>{motor.peak_winding_c:.1f}</td>",
        f"<td>{motor.steady_winding_c:.0f} <small>of {_number(motor.limit_c, 0)}</small></td>",
        f"<td>{_number(limit, 1, ' min') if limit is not None else 'never'}</td>",
        f"<td>{motor.equivalent_torque_nm:.2f} <small>of {_number(motor.rated_torque_nm, 2)}</small></td>",
        f'<td class="{"over" if over else ""}">{_number(motor.utilization_ratio, 2)}</td>',
        f"<td>{motor.duty_percent:.0f}</td>",
        f"<td>{motor.joules:.1f}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>"


def _video(result: EvalResult, out: Path, seed: int, name: str) -> str:
    path = out / name
    ok = result.success[result.seeds.index(seed)]
    source = html.escape(name)
    if path.exists() and path.stat().st_size <= EMBED_BYTES:
        source = f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"
    mark = f'<span class="{"ok" if ok else "no"}">{"reached" if ok else "not reached"}</span>'
    return (
        f'<figure><video src="{source}" controls muted loop playsinline preload="auto"></video>'
        f"<figcaption>seed {seed} {mark}</figcaption></figure>"
    )


def _image(figure: Any, alt: str) -> str:
    """Return a figure as an SVG inside an img element, and free it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f'<img alt="{alt}" src="data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _axes(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """Return a figure that no window manager knows, and its axes."""
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


def _plot_winding(result: EvalResult) -> Any:
    figure, axis = _axes(5.6, 3.0)
    seconds = np.array(result.series.seconds)
    mean, peak = np.array(result.series.mean_winding_c), np.array(result.series.peak_winding_c)
    order = np.argsort(-peak[-1]) if len(peak) else range(0)
    for rank, motor in enumerate(order):
        colour = COLOURS[rank] if rank < len(COLOURS) - 1 else GRID
        label = result.motors[motor].joint if rank < len(COLOURS) - 1 else None
        axis.plot(seconds, mean[:, motor], color=colour, linewidth=1.6, label=label)
        axis.fill_between(seconds, mean[:, motor], peak[:, motor], color=colour, alpha=0.12, linewidth=0)
    axis.set_xlabel("time in the episode [s]")
    axis.set_ylabel("winding [°C]")
    axis.legend(frameon=False, loc="upper left", fontsize=8)
    return figure


def _plot_load(motors: list[MotorHeat]) -> Any:
    shown = sorted(motors, key=lambda m: m.steady_winding_c)[-12:]
    figure, axes = _axes(11.6, 0.9 + 0.27 * len(shown), columns=2)
    rows = np.arange(len(shown))
    ratios = [m.utilization_ratio or 0.0 for m in shown]
    axes[0].barh(rows, ratios, height=0.62, color=[BAD if r > 1 else WARM if r > 0.8 else GOOD for r in ratios])
    axes[0].axvline(1, color=INK, linewidth=1, linestyle="--")
    axes[0].set_yticks(rows, [m.joint for m in shown])
    axes[0].set_xlabel("thermal-equivalent torque / rated")
    axes[1].barh(rows, [m.steady_winding_c for m in shown], height=0.62, color=COLOURS[0])
    limits = [m.limit_c if m.limit_c is not None else np.nan for m in shown]
    axes[1].scatter(limits, rows, marker="|", s=120, color=BAD, label="limit", zorder=3)
    axes[1].set_yticks(rows, [""] * len(shown))
    axes[1].set_xlabel("winding after endless repetition [°C]")
    axes[1].legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 0.98), fontsize=8)
    for axis in axes:
        axis.grid(axis="y", visible=False)
    return figure


def _plot_success(result: EvalResult) -> Any:
    figure, axis = _axes(5.6, 3.0)
    done = np.sort([s for s, ok in zip(result.seconds, result.success, strict=True) if ok])
    total = len(result.seeds)
    end = max(result.seconds)
    times = np.concatenate([[0.0], done, [end]])
    counts = np.concatenate([[0], np.arange(1, len(done) + 1), [len(done)]])
    bounds = np.array([wilson(int(c), total) for c in counts])
    axis.fill_between(
        times, 100 * bounds[:, 0], 100 * bounds[:, 1], step="post", color=COLOURS[0], alpha=0.15, linewidth=0
    )
    axis.step(times, 100 * counts / total, where="post", color=COLOURS[0], linewidth=1.8)
    axis.set_ylim(0, 102)
    axis.set_xlim(0, end)
    axis.set_xlabel("time in the episode [s]")
    axis.set_ylabel("reached by then [%]")
    return figure
