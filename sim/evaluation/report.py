"""Reports of an evaluation: `report.json` for programs, and `report.html`, one page with plots and videos."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from waldo import __version__
from waldo.files import write_atomic
from waldo.robots.thermal.limits import AMBIENT_C
from waldo.sim.evaluation.gates import GateResult
from waldo.sim.evaluation.plots import plot_load, plot_success, plot_winding
from waldo.sim.evaluation.results import EvalResult
from waldo.templates import load_template

EMBED_BYTES = 4_000_000
"""Videos up to this size are embedded in the page; larger ones are linked [bytes]."""


OWN_FILES = re.compile(r"report\.(json|html)|instruction\.json|seed-\d+\.mp4")
"""Names of the files that an evaluation writes into its folder."""


def remove_report(out: Path) -> None:
    """Delete the report and the videos of an earlier evaluation; other files in the folder are kept."""
    if out.is_dir():
        for path in out.iterdir():
            if OWN_FILES.fullmatch(path.name):
                path.unlink()


def write_report(result: EvalResult, out: Path, gates: Sequence[GateResult] = ()) -> Path:
    """Write `report.json` and `report.html` into the folder `out`, beside the videos; return the path of the page."""
    out.mkdir(parents=True, exist_ok=True)
    values = as_json(result) | verdict(gates)
    write_atomic(out / "report.json", json.dumps(values, indent=2, allow_nan=False) + "\n")
    page = out / "report.html"
    write_atomic(page, render_page(result, out, gates))
    return page


def as_json(result: EvalResult) -> dict[str, Any]:
    """Return the result as JSON values."""
    values: dict[str, Any] = dataclasses.asdict(result)
    if result.control is not None:
        values["control"] |= {"successes": result.control.successes, "rate": result.control.rate}
    values["videos"] = {str(seed): name for seed, name in result.videos.items()}
    return {"waldo": __version__, "successes": result.successes, "rate": result.rate, **values}


def verdict(gates: Sequence[GateResult]) -> dict[str, Any]:
    """Return the gates as JSON values, and whether all of them passed."""
    return {"passed": all(gate.passed for gate in gates), "gates": [dataclasses.asdict(gate) for gate in gates]}


def render_page(result: EvalResult, out: Path, gates: Sequence[GateResult] = ()) -> str:
    """Return the HTML page; `out` is the folder of the videos."""
    template = load_template(Path(__file__).with_name("report_page.html"), {"number": _number})
    done = [s for s, ok in zip(result.seconds, result.success, strict=True) if ok]
    timed = [motor for motor in result.motors if motor.seconds_to_limit is not None]
    return template.render(
        result=result,
        gates=gates,
        version=__version__,
        median_seconds=float(np.median(done)) if done else None,
        warmest=max(result.motors, key=lambda motor: motor.max_winding_c),
        limiting=min(timed, key=lambda motor: motor.seconds_to_limit or 0.0) if timed else None,
        exceeded=[one for one in result.motors if one.limit_c is not None and one.max_winding_c >= one.limit_c],
        ambient_c=AMBIENT_C,
        steady=max(result.motors, key=lambda motor: motor.steady_winding_c),
        episodes=list(zip(result.seeds, result.success, result.seconds, strict=True)),
        bases=sorted({motor.thermal_basis for motor in result.motors}),
        winding_plot=_data_uri(plot_winding(result)),
        load_plot=_data_uri(plot_load(result.motors)),
        success_plot=_data_uri(plot_success(result)),
        videos=[
            (seed, result.success[result.seeds.index(seed)], _video_source(out / name))
            for seed, name in result.videos.items()
        ],
    )


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _data_uri(figure: Any) -> str:
    """Return a figure as the address of an SVG image."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _video_source(path: Path) -> str:
    """Return the address of a video: its data if it is small, else its file name."""
    if path.exists() and path.stat().st_size <= EMBED_BYTES:
        return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"
    return path.name
