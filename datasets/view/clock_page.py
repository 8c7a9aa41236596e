"""The page with the machine-readable clock of clock_code.py, as a file or served to a browser on this machine."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from waldo.datasets.quality import clock_code
from waldo.datasets.view.assets import FOLDER, asset, content_policy
from waldo.errors import InvalidValueError
from waldo.templates import load_template


def clock_page() -> str:
    """Return the self-contained page, which shows the clock of the machine that it is opened on."""
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
    script, style = asset("clock.js"), asset("clock.css")
    template = load_template(FOLDER / "clock.html")
    return template.render(policy=content_policy(script, style), style=style, script=script, layout=layout)


class _Handler(BaseHTTPRequestHandler):
    """Respond to every request with the page."""

    def do_GET(self) -> None:
        """Send the page."""
        body = clock_page().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Suppress the request log."""


def clock_server(port: int) -> ThreadingHTTPServer:
    """Return a server of the page on 127.0.0.1.

    Args:
        port: Port; 0 for any free one.

    Raises:
        InvalidValueError: If the port is not available.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    except (OSError, OverflowError) as error:
        raise InvalidValueError("--port", port, f"a free port ({error})") from error
