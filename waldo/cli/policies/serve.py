"""`waldo serve`: serve a policy to robots and to openpi clients."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from waldo.errors import ConfigError, FileError, InvalidValueError, MissingOptionError
from waldo.process import stop_with_parent
from waldo.train.serving import CHILD_VARIABLE, TOKEN_VARIABLE
from waldo.web.hosts import TOKEN_FORM, is_loopback, is_token


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Serve a policy over WebSockets with openpi's messages: `waldo run --server` and openpi clients can use it.

    An observation names its values as LeRobot does (observation.state, observation.images.front, task); slashes for
    dots, "prompt" for "task" and openpi's "observation/wrist_image" are understood as well.
    """

    policy: tyro.conf.Positional[Path]
    """Checkpoint folder, or output folder of `waldo train` for its last checkpoint."""
    host: str = "127.0.0.1"
    """Address to listen on; an address other than the loopback requires a token."""
    port: int = 8000
    """Port to listen on; 0 selects a free port."""
    token: str | None = None
    """Token that every client must send; default: the environment variable WALDO_SERVE_TOKEN, which other users of this
    machine cannot see."""
    certificate: Path | None = None
    """Certificate chain (PEM) for wss; requires --key."""
    key: Path | None = None
    """Private key (PEM) of the certificate."""
    device: str = "cpu"
    """Device of the policy: cpu, cuda or mps."""
    threads: int = 1
    """CPU threads of the policy."""
    alias: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Name in a request that stands for an input of the policy, such as --alias
    observation/exterior_image_1_left=observation.images.front; repeatable."""

    def __post_init__(self) -> None:
        """Validate the options: without a token only a loopback address is allowed."""
        if not 0 <= self.port <= 65535:
            raise InvalidValueError("--port", self.port, "0 to 65535")
        if self.secret == "":
            raise InvalidValueError("--token", "", "one character or more")
        if self.secret is not None and not is_token(self.secret):
            raise ConfigError(f"--token cannot be sent in a header, expected {TOKEN_FORM}")  # which is not printed
        if self.secret is None and not is_loopback(self.host):
            do = "pass --token SECRET, or listen on a loopback address such as 127.0.0.1"
            raise MissingOptionError(f"--host {self.host}", "--token", do)
        if (self.certificate is None) != (self.key is None):
            given, missing = ("--certificate", "--key") if self.key is None else ("--key", "--certificate")
            raise MissingOptionError(given, missing)
        if self.threads < 1:
            raise InvalidValueError("--threads", self.threads, "a number from 1")

    @property
    def secret(self) -> str | None:
        """The token from the option or the environment."""
        return self.token if self.token is not None else os.environ.get(TOKEN_VARIABLE)

    def aliases(self) -> dict[str, str]:
        """Return name in a request, with dots -> input of the policy."""
        found: dict[str, str] = {}
        for text in self.alias:
            name, equals, key = text.partition("=")
            if not (name and equals and key):
                raise InvalidValueError("--alias", text, "NAME=INPUT, such as wrist=observation.images.wrist")
            found[name.replace("/", ".")] = key
        return found

    def run(self) -> int:
        """Serve until Ctrl-C."""
        from waldo.console import err
        from waldo.train.serving.local import describe_policy, load_policy
        from waldo.train.serving.server import MAX_CLIENTS, PolicyServer, tls_context

        aliases = self.aliases()
        if os.environ.get(CHILD_VARIABLE):
            stop_with_parent()
        with err().status("loading the policy"):
            policy, inputs = load_policy(str(self.policy), device=self.device, threads=self.threads, aliases=aliases)
        if unknown := sorted({*aliases.values()} - {*inputs.keys}):
            raise InvalidValueError("--alias", unknown[0], f"one of the policy's inputs: {', '.join(inputs.keys)}")
        tls = None
        if self.certificate is not None and self.key is not None:
            try:
                tls = tls_context(str(self.certificate), str(self.key))
            except OSError as error:
                raise FileError(self.certificate, f"cannot be used with {self.key} ({error})") from error
        server = PolicyServer(
            policy,
            inputs,
            describe_policy(policy, inputs),
            token=self.secret,
            max_clients=1 if policy.lockstep else MAX_CLIENTS,
        )
        scheme = "ws" if tls is None else "wss"
        shown = f"[{self.host}]" if ":" in self.host else self.host

        def on_listening(port: int) -> None:
            needs = ", ".join(inputs.keys)
            err().print(f"serving {self.policy} on {scheme}://{shown}:{port} ({needs}); stop with Ctrl-C", markup=False)

        async def serve() -> None:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, stop.set)
            await server.run(self.host, self.port, stop, tls=tls, on_listening=on_listening)

        start = time.monotonic()
        try:
            asyncio.run(serve())
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                expected = f"an address of this machine ({error.strerror})"
                raise InvalidValueError("--host", self.host, expected) from error
            raise InvalidValueError(
                "--port", self.port, f"a free port of {self.host} ({error.strerror})", "pass another one"
            ) from error
        err().print(f"answered {server.answered}, refused {server.refused} in {time.monotonic() - start:.0f} s")
        return 0
