"""A client of any server that speaks openpi's wire, over one connection that is kept."""

from __future__ import annotations

import itertools
import socket
import ssl
import struct
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.protocol import State
from websockets.sync.client import ClientConnection, connect

from waldo.errors import WaldoError
from waldo.train.serving.server import REQUEST_ID
from waldo.train.serving.wire import MAX_BYTES, WireError, pack, unpack
from waldo.web.hosts import TOKEN_FORM, is_token

CONNECT_S = 10.0
"""Timeout of connecting [s]."""

ANSWER_S = 10.0
"""Timeout of one answer [s]; slow on a CPU, and the robot holds meanwhile."""

CLOSE_S = 1.0
"""Time in which the server must answer the closing of a connection [s]."""


class ServerError(WaldoError):
    """A policy server that cannot be reached, has stopped, or answers with an error."""

    exit_code = 3


class PolicyClient:
    """Asks a policy server for actions, one observation at a time."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        ca_file: str | None = None,
        connect_s: float = CONNECT_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        """Connect and receive the server's metadata.

        Args:
            url: Address, such as ws://127.0.0.1:8000 or wss://gpu.example:443.
            token: Token of the server, sent as `Authorization: Api-Key`.
            ca_file: Certificates to trust beside the system's, for wss.
            connect_s: Timeout of connecting [s].
            answer_s: Timeout of one answer [s].

        Raises:
            ServerError: If the server cannot be reached or refuses the connection.
        """
        self.url, self._answer_s = url, answer_s
        if token and not is_token(token):  # the error of websockets would contain it
            raise ServerError(f"{url}: the token cannot be sent in a header, expected {TOKEN_FORM}")
        headers = {"Authorization": f"Api-Key {token}"} if token else None
        self._numbers = itertools.count()
        with ExitStack() as on_failure:
            try:
                opened = connect(
                    url,
                    ssl=ssl.create_default_context(cafile=ca_file) if url.startswith("wss:") else None,
                    additional_headers=headers,
                    compression=None,
                    max_size=MAX_BYTES,
                    open_timeout=connect_s,
                    close_timeout=CLOSE_S,
                    proxy=None,
                )
                self._connection: ClientConnection = on_failure.enter_context(opened)
                _limit_sending(self._connection.socket, answer_s)
                greeting = self._connection.recv(timeout=connect_s)
            except InvalidStatus as error:
                raise ServerError(f"{url}: {_refusal(error)}") from error
            except (WebSocketException, OSError, ValueError) as error:
                raise ServerError(f"{url}: {_reason(error)}; start a server with: waldo serve POLICY") from error
            self.metadata: dict[str, Any] = self._unpack(greeting)
            """What the server sent when the client connected."""
            on_failure.pop_all()

    @property
    def is_open(self) -> bool:
        """Whether the connection is open; False at once after the server has gone."""
        return self._connection.state is State.OPEN

    def infer(self, observation: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the actions that follow an observation, (actions, joints).

        The connection is closed after a timeout, since the next answer would be that to an earlier question.

        Raises:
            ServerError: If there is no answer, or it is not a finite array.
        """
        number = next(self._numbers)
        try:
            self._connection.send(pack({**observation, REQUEST_ID: number}))
            answer = self._connection.recv(timeout=self._answer_s)
        except TimeoutError as error:
            self.close()
            raise ServerError(f"{self.url}: no answer within {self._answer_s:g} s") from error
        except (WebSocketException, OSError) as error:
            raise ServerError(f"{self.url}: {_reason(error)}") from error
        message = self._unpack(answer)
        answered = message.get(REQUEST_ID, number)
        if not isinstance(answered, int) or answered != number:
            self.close()
            raise ServerError(f"{self.url}: answered request {answered!r}, asked was {number}")
        return self._actions(message.get("actions"))

    def _unpack(self, data: str | bytes) -> dict[str, Any]:
        if isinstance(data, str):
            raise ServerError(f"{self.url}: {' '.join(data.split())[-500:]}")
        try:
            return unpack(data)
        except WireError as error:
            raise ServerError(f"{self.url}: {error}") from error

    def _actions(self, found: Any) -> NDArray[np.float64]:
        if not isinstance(found, np.ndarray) or found.ndim != 2 or not found.size:
            shape = found.shape if isinstance(found, np.ndarray) else type(found).__name__
            raise ServerError(f"{self.url}: the actions are {shape}, expected an array (actions, joints)")
        actions = cast("NDArray[np.float64]", found.astype(np.float64))
        if not np.isfinite(actions).all():
            raise ServerError(f"{self.url}: the actions are not finite")
        return actions

    def close(self) -> None:
        """Close the connection; may be called more than once."""
        if self.is_open:
            self._connection.close()
        else:
            self._connection.close_socket()


def _limit_sending(connection: socket.socket, limit_s: float) -> None:
    """Let sending fail after a time, which it otherwise never does to a server that has stopped reading."""
    seconds = int(limit_s)
    limit = struct.pack("ll", seconds, max(1, int((limit_s - seconds) * 1e6)))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _refusal(error: InvalidStatus) -> str:
    """Return why a server refused the connection."""
    text = " ".join((error.response.body or b"").decode(errors="replace").split())[:500]
    return f"HTTP {error.response.status_code}: {text or error.response.reason_phrase}"


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return "timed out" if isinstance(error, TimeoutError) else text
