"""TLS handshakes with a deadline and a limit of their number.

The event loop's own TLS server waits a minute for a handshake and counts none of them: a thousand clients that connect
and send nothing would use up the files that this process may open, which the recorder needs, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from waldo.web.attempts import network_of

HANDSHAKE_S = 10.0
"""Time in which a client must complete its handshake [s]."""
CLOSE_S = 0.5
"""Time in which a client must confirm the end of an encrypted connection [s]; a server that stops waits for it."""
MAX_HANDSHAKES = 100
"""Number of handshakes at the same time; further connections are closed."""
MAX_PER_NETWORK = 30
"""Number of handshakes of one address at the same time."""


class Handshakes:
    """Makes the protocol of each connection: a handshake first, then the protocol that serves it."""

    def __init__(
        self,
        context: ssl.SSLContext,
        make: Callable[..., asyncio.Protocol],
        *,
        limit: int = MAX_HANDSHAKES,
        per_network: int = MAX_PER_NETWORK,
        handshake_s: float = HANDSHAKE_S,
    ) -> None:
        """Initialize.

        Args:
            context: The server's certificate.
            make: Makes the protocol that serves a connection after its handshake.
            limit: Number of handshakes at the same time.
            per_network: Number of handshakes of one address at the same time.
            handshake_s: Time in which a client must complete its handshake [s].
        """
        self.context, self.handshake_s = context, handshake_s
        self._make, self._limit, self._per_network = make, limit, per_network
        self._open: Counter[str] = Counter()

    def __call__(self, **options: Any) -> asyncio.Protocol:
        """Return the protocol of a new connection; called by the server."""
        return _Handshake(self, lambda: self._make(**options))

    def enter(self, network: str) -> bool:
        """Count a handshake; return false if there are too many."""
        if self._open.total() >= self._limit or self._open[network] >= self._per_network:
            return False
        self._open[network] += 1
        return True

    def leave(self, network: str) -> None:
        """Count the end of a handshake."""
        self._open[network] -= 1
        if not self._open[network]:
            del self._open[network]


class _Handshake(asyncio.Protocol):
    """Keeps what a client sends right after its handshake, until the protocol is there to receive it."""

    def __init__(self, handshakes: Handshakes, make: Callable[[], asyncio.Protocol]) -> None:
        self._handshakes, self._make = handshakes, make
        self._received: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self._is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        plain = cast(asyncio.Transport, transport)
        peer = plain.get_extra_info("peername")
        network = network_of(str(peer[0])) if peer else ""
        if not self._handshakes.enter(network):
            plain.abort()
            return
        plain.pause_reading()
        self._task = asyncio.get_running_loop().create_task(self._shake(plain, network))

    def data_received(self, data: bytes) -> None:
        self._received.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._is_lost = True

    async def _shake(self, plain: asyncio.Transport, network: str) -> None:
        loop, context = asyncio.get_running_loop(), self._handshakes.context
        try:
            encrypted = await loop.start_tls(
                plain,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=self._handshakes.handshake_s,
                ssl_shutdown_timeout=CLOSE_S,
            )
        except OSError:  # no TLS, too slow, or the certificate is not accepted
            plain.abort()
            return
        finally:
            self._handshakes.leave(network)
        if encrypted is None or self._is_lost:
            with contextlib.suppress(AttributeError):
                plain.abort()
            return
        inner = self._make()
        encrypted.set_protocol(inner)
        inner.connection_made(encrypted)
        for data in self._received:
            inner.data_received(data)
