"""The page that shows clock_code.py's clock, as a file or served to a browser on this machine."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from waldo.datasets.quality import clock_code
from waldo.datasets.view.page import asset, source_hash
from waldo.errors import InvalidValueError


def clock_page() -> str:
    """Return the page: self-contained, shows this machine's clock when it is opened on this machine."""
    layout = {
        "width": clock_code.WIDTH,
        "height": clock_code.HEIGHT,
        "tick_ms": clock_code.TICK_NS // 1_000_000,
        "bits": clock_code.BITS,
        "marker": clock_code.MARKER,
        "markers": [
            {"x": x, "y": y, "black": (clock_code.marker(number) == 0).astype(int).tolist()}
            for number, (x, y) in enumerate(clock_code.MARKERS)
        ],
        "cell_x": clock_code.CELL_X,
        "cell_y": clock_code.CELL_Y,
        "cell": clock_code.CELL,
        "columns": clock_code.COLUMNS,
    }
    script = asset("clock.js").replace("{{LAYOUT}}", json.dumps(layout))
    style = asset("clock.css")
    words = {"SCRIPT_HASH": source_hash(script), "STYLE_HASH": source_hash(style), "STYLE": style, "SCRIPT": script}
    text = asset("clock.html")
    for word, value in words.items():
        text = text.replace(f"{{{{{word}}}}}", value)
    return text


class _Handler(BaseHTTPRequestHandler):
    """Answers every request with the page."""

    def do_GET(self) -> None:
        """Send the page; there is nothing else."""
        body = clock_page().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def clock_server(port: int) -> ThreadingHTTPServer:
    """Return a server of the page on this machine only; port 0 takes any free one."""
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    except (OSError, OverflowError) as error:
        raise InvalidValueError("--port", port, f"a free port ({error})") from error
