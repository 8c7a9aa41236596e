"""Images as motion JPEG over HTTP on the loopback interface, as network cameras deliver them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from waldo.errors import InvalidValueError

BOUNDARY = "frame"
"""Text between two images of a stream (RFC 2046)."""

SILENCE_S = 5.0
"""Time without a new image after which a stream ends [s]."""


class MjpegServer:
    """Serves the newest image of each camera at `/<camera>.mjpg`; a context manager."""

    def __init__(self, cameras: Sequence[str], port: int = 0) -> None:
        """Listen.

        Args:
            cameras: Names of the cameras.
            port: Port of the loopback interface; 0: any free one.

        Raises:
            InvalidValueError: If the port is in use.
        """
        self._cameras = tuple(cameras)
        self._images: dict[str, tuple[int, bytes]] = {}
        self._news = threading.Condition()
        self._closed = False
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                served._serve(self)

            def log_message(self, format: str, *args: Any) -> None:  # the name is that of the base class
                """Print nothing."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise InvalidValueError("camera-port", port, f"a free port ({error.strerror})") from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="mjpeg", daemon=True)

    @property
    def urls(self) -> dict[str, str]:
        """Address of each camera."""
        return {name: f"http://127.0.0.1:{self._server.server_port}/{name}.mjpg" for name in self._cameras}

    def __enter__(self) -> Self:
        """Start to serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all streams."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def put(self, camera: str, jpeg: bytes) -> None:
        """Publish an image."""
        with self._news:
            number = self._images.get(camera, (0, b""))[0] + 1
            self._images[camera] = (number, jpeg)
            self._news.notify_all()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        camera = handler.path.removeprefix("/").removesuffix(".mjpg")
        if camera not in self._cameras:
            handler.send_error(HTTPStatus.NOT_FOUND, f"cameras: {', '.join(self._cameras)}")
            return
        handler.send_response(HTTPStatus.OK)
        handler.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        handler.end_headers()
        shown = 0
        try:
            while (image := self._next(camera, shown)) is not None:
                shown, jpeg = image
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                handler.wfile.write(head.encode() + jpeg + b"\r\n")
        except OSError:
            return  # the reader has disconnected

    def _next(self, camera: str, shown: int) -> tuple[int, bytes] | None:
        """Return the number and the JPEG of an image after number `shown`; None at the end."""
        with self._news:
            found = self._news.wait_for(
                lambda: self._closed or self._images.get(camera, (0, b""))[0] > shown, timeout=SILENCE_S
            )
            return self._images[camera] if found and not self._closed else None
