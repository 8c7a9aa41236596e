"""A server of one policy on openpi's wire: a WebSocket, the metadata first, then one answer to each observation.

    server = PolicyServer(policy, inputs, metadata)
    asyncio.run(server.run("127.0.0.1", 8000, stop))

The protocol is that of openpi's `websocket_policy_server.py`, so its clients work unchanged. A request that cannot be
answered is answered by a text, which those clients raise as an error; the connection stays open.
"""

from __future__ import annotations

import asyncio
import hmac
import http
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from waldo.errors import WaldoError
from waldo.train.serving.batcher import Batcher, ChunkPolicy
from waldo.train.serving.inputs import PolicyInputs
from waldo.train.serving.wire import MAX_BYTES, pack, unpack

LOG = logging.getLogger("waldo.serving")

HEALTH = "/healthz"
"""Path that answers without a WebSocket."""

REQUEST_ID = "request_id"
"""Key of a request that the answer repeats, so that a client can match them."""

MAX_REASON = 2_000
"""Longest text that answers a refused request [characters]."""

MAX_CLIENTS = 64
"""Most connections at once."""


class PolicyServer:
    """Answers the observations of any number of robots."""

    def __init__(
        self,
        policy: ChunkPolicy,
        inputs: PolicyInputs,
        metadata: Mapping[str, Any],
        *,
        token: str | None = None,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        """Initialize without listening.

        Args:
            policy: The policy; it is called on one thread.
            inputs: What an observation must contain.
            metadata: Sent to each client when it connects.
            token: Required of each client as `Authorization: Api-Key TOKEN` or `Bearer TOKEN`; None: no token.
            max_clients: Most connections at once.
        """
        self._batcher, self._inputs = Batcher(policy), inputs
        self._greeting = pack(dict(metadata))
        self._token, self._max_clients = token, max_clients
        self._clients = 0
        self.answered = 0
        """Number of observations that were answered with actions."""
        self.refused = 0
        """Number of requests and connections that were refused."""

    async def run(
        self,
        host: str,
        port: int,
        stop: asyncio.Event,
        *,
        tls: ssl.SSLContext | None = None,
        on_listening: Callable[[int], None] = lambda port: None,
    ) -> None:
        """Serve until `stop` is set.

        Args:
            host: Name or address to listen on.
            port: Port; 0 for any free one.
            stop: Ends the server.
            tls: Certificate and key; None for plain WebSockets.
            on_listening: Called with the port once clients can connect.
        """
        try:
            async with serve(
                self._talk,
                host,
                port,
                ssl=tls,
                compression=None,
                max_size=MAX_BYTES,
                process_request=self._admit,
                server_header=None,
            ) as server:
                on_listening(next(iter(server.sockets)).getsockname()[1])
                await stop.wait()
        finally:
            self._batcher.close()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return why a connection is refused, or None."""
        if request.path == HEALTH:
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if "Origin" in request.headers:
            # A web page in the browser of a local user; programs do not send this header.
            return self._refuse(connection, http.HTTPStatus.FORBIDDEN, "connections from web pages are refused")
        if self._token is not None:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            known = scheme.lower() in ("api-key", "bearer")
            if not known or not hmac.compare_digest(given.strip().encode(), self._token.encode()):
                return self._refuse(connection, http.HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")
        if self._clients >= self._max_clients:
            text = f"{self._clients} clients are connected already"
            return self._refuse(connection, http.HTTPStatus.SERVICE_UNAVAILABLE, text)
        return None

    def _refuse(self, connection: ServerConnection, status: http.HTTPStatus, text: str) -> Response:
        self.refused += 1
        LOG.warning("connection from %s refused: %s", connection.remote_address, text)
        return connection.respond(status, text + "\n")

    async def _talk(self, connection: ServerConnection) -> None:
        """Answer the requests of one client until it disconnects."""
        self._clients += 1
        if self._clients == 1:
            self._batcher.reset()
        LOG.info("connection from %s", connection.remote_address)
        try:
            await connection.send(self._greeting)
            async for data in connection:
                await connection.send(await self._answer(data))
        except ConnectionClosed:
            pass
        finally:
            self._clients -= 1
            LOG.info("connection from %s closed", connection.remote_address)

    async def _answer(self, data: str | bytes) -> bytes | str:
        """Return the answer to a request: the actions, or a text with the reason why there are none."""
        start = time.monotonic()
        try:
            if isinstance(data, str):
                raise WaldoError("a request is text, expected a msgpack map in a binary message")
            message = unpack(data)
            observation = self._inputs.read(message)
            actions = await asyncio.wrap_future(self._batcher.submit(observation))
            answer: dict[str, Any] = {
                "actions": actions.astype("float32"),
                "server_timing": {"infer_ms": (time.monotonic() - start) * 1000},
            }
            if REQUEST_ID in message:
                answer[REQUEST_ID] = message[REQUEST_ID]
            packed = pack(answer)
        except Exception as error:  # the policy's own errors too: they must reach the client, and not end the server
            self.refused += 1
            text = (str(error) if isinstance(error, WaldoError) else f"{type(error).__name__}: {error}")[:MAX_REASON]
            LOG.warning("request refused: %s", text)
            return text
        self.answered += 1
        return packed


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """Return the TLS settings of a server from the paths of its certificate chain and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
