"""The options of the commands that serve web pages, and what follows from them."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from waldo.errors import FileError, InvalidValueError, MissingExtraError, MissingOptionError
from waldo.web.listening import require_port

if TYPE_CHECKING:
    from waldo.web.addresses import Hosts
    from waldo.web.security import Security
    from waldo.web.tls.certificate import ServerCertificate


@dataclass(frozen=True, kw_only=True)
class WebOptions:
    """Where a server listens, and whom it lets in."""

    APPLICATION: ClassVar[str] = ""
    """Name of the application, in its cookies and files."""
    TOKEN_VARIABLE: ClassVar[str] = ""
    """Environment variable with the token, which keeps it out of the process list."""

    host: str = "127.0.0.1"
    """Address to listen on. On any other than the loopback the pages are encrypted, and browsers are paired by a PIN
    that the terminal shows."""
    port: int = 0
    """Port to listen on; 0 selects a free port."""
    token: str | None = None
    """Token of programs, and of browsers that are not paired; default: the environment variable WALDO_CONSOLE_TOKEN or
    WALDO_FLEET_TOKEN, which other users of this machine cannot see."""
    server_name: tuple[str, ...] = ()
    """Further names under which browsers reach this server, beside the names and addresses of this machine."""
    certificate: Path | None = None
    """PEM file with a TLS certificate of your own, instead of the one that is made at the first start."""
    key: Path | None = None
    """PEM file with its key."""
    audit_log: Path | None = None
    """File of the audit log; default: a file in the user's data folder."""

    def __post_init__(self) -> None:
        """Validate the options.

        Raises:
            InvalidValueError: If the port does not exist, or the token is empty.
            MissingOptionError: If there is a key without a certificate.
        """
        require_port(self.port)
        if self.secret == "":
            raise InvalidValueError("--token", "", "one character or more")
        if self.key is not None and self.certificate is None:
            raise MissingOptionError("--key", "--certificate", "pass the certificate of the key")

    @property
    def secret(self) -> str | None:
        """The token from the option or the environment."""
        return self.token if self.token is not None else os.environ.get(self.TOKEN_VARIABLE)

    def require_login(self, *, shows_pins: bool) -> None:
        """Raise MissingOptionError if no browser of another machine could log in.

        Args:
            shows_pins: Whether there is a terminal that can show a PIN.
        """
        from waldo.web.hosts import is_loopback

        if not is_loopback(self.host) and self.secret is None and not shows_pins:
            do = "pass --token SECRET, start it in a terminal, which shows a PIN, or listen on 127.0.0.1"
            raise MissingOptionError(f"--host {self.host}", "--token", do)

    def security(self, port: int) -> Security:
        """Return the access rules of a server on a port.

        Raises:
            FileError: If a certificate or file cannot be used.
        """
        from waldo.web.addresses import Hosts
        from waldo.web.audit import Audit
        from waldo.web.folders import data_folder
        from waldo.web.hosts import is_loopback
        from waldo.web.paired import PairedBrowsers
        from waldo.web.pairing import Pairing
        from waldo.web.security import Security

        loopback = is_loopback(self.host)
        folder = data_folder() / "web"
        hosts = Hosts(self.server_name, loopback=loopback)
        encrypts = not loopback or self.certificate is not None
        log = self.audit_log or (None if loopback else folder / f"{self.APPLICATION}-audit.log")
        browsers = PairedBrowsers(folder / f"{self.APPLICATION}-{port}-browsers.json")
        try:
            return Security(
                application=self.APPLICATION,
                token=self.secret,
                loopback=loopback,
                port=port,
                hosts=hosts,
                pairing=None if loopback else Pairing(),
                paired=PairedBrowsers() if loopback else browsers,
                certificate=self._certificate(folder / "server.pem", hosts) if encrypts else None,
                audit=Audit(log),
            )
        except OSError as error:
            raise FileError(folder, f"cannot be used ({error.strerror})", "set XDG_DATA_HOME to a folder") from error

    def _certificate(self, path: Path, hosts: Hosts) -> ServerCertificate:
        """Return the user's own certificate, or the one of this machine."""
        if importlib.util.find_spec("cryptography") is None:
            raise MissingExtraError("cryptography", "console")
        from waldo.web.tls.certificate import ServerCertificate

        if self.certificate is not None:
            return ServerCertificate(certificate=self.certificate, key=self.key)
        return ServerCertificate(certificate=path, hosts=hosts)
