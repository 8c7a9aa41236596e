"""The TLS certificate of a server: made on this machine at the first start, or the user's own.

The key is generated here and never leaves the machine; no key is shipped, so two installations have different ones.
A browser cannot verify a certificate that no authority has signed: it shows a warning once, and the operator compares
the fingerprint with the one in the terminal.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path

from waldo.errors import FileError
from waldo.files import write_atomic
from waldo.web.addresses import Hosts
from waldo.web.folders import private_folder

VALID_DAYS = 397
"""Validity of a certificate [days]; browsers reject longer ones (CA/Browser Forum, baseline requirements 6.3.2)."""
RENEW_DAYS = 30
"""Remaining validity below which a certificate is renewed [days]."""
BACKDATE_DAYS = 1
"""How long before its creation a certificate is valid, for clients whose clocks are behind [days]."""
CHECK_S = 600.0
"""Interval at which a running server checks whether its certificate must be renewed [s]."""


@dataclass(kw_only=True)
class ServerCertificate:
    """A certificate with its key; `context` serves it, and a renewal reaches new connections without a restart."""

    certificate: Path
    """PEM file with the certificate and the ones that signed it."""
    key: Path | None = None
    """PEM file with the key; by default it is in the same file."""
    hosts: Hosts | None = None
    """What a certificate made here is valid for; None for the user's own, which is never changed."""
    context: ssl.SSLContext = field(init=False)
    """What a server encrypts its connections with."""

    def __post_init__(self) -> None:
        """Make the certificate unless there is a valid one, and load it.

        Raises:
            FileError: If the user's certificate or key cannot be read, or they do not belong together.
        """
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.renew():
            self._load()

    def renew(self, now_s: float | None = None) -> bool:
        """Replace a certificate that expires soon or lacks an address of the machine; return whether it was.

        Args:
            now_s: The time since the epoch [s]; by default the system's.
        """
        if self.hosts is None:
            return False
        now_s = time.time() if now_s is None else now_s
        hosts = self.hosts.all()
        if _is_usable(self.certificate, hosts, now_s):
            return False
        private_folder(self.certificate.parent)
        # Certificate and key are one file: a crash never leaves a pair that does not match.
        write_atomic(self.certificate, create_pem(hosts, now_s), mode=0o600)
        self._load()
        return True

    def fingerprint(self) -> str:
        """Return the SHA-256 fingerprint of the certificate, as browsers show it."""
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(_certificate_text(self.certificate))).hexdigest().upper()
        return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))

    def _load(self) -> None:
        try:
            self.context.load_cert_chain(self.certificate, self.key)
        except OSError as error:  # SSLError is one
            path = self.key if self.key is not None and not self.key.exists() else self.certificate
            do = "pass --certificate and --key with a PEM certificate and its key"
            raise FileError(path, f"cannot be used for TLS ({error})", do) from error


def create_pem(hosts: list[str], now_s: float) -> bytes:
    """Return a new key (ECDSA, P-256) and a certificate for hosts, both as PEM.

    Args:
        hosts: Names and addresses: the certificate's subject alternative names.
        now_s: The time since the epoch [s].
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "waldo")])
    now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=BACKDATE_DAYS))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS - BACKDATE_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(host: str):
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host.encode("idna").decode())


def _is_usable(path: Path, hosts: list[str], now_s: float) -> bool:
    """Return whether a file contains a key and a certificate that is valid long enough, for all of the hosts."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        content = path.read_bytes()
        certificate = x509.load_pem_x509_certificate(_certificate_text(path).encode())
        key = serialization.load_pem_private_key(content, None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, FileError, x509.ExtensionNotFound):
        return False
    now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    remaining = certificate.not_valid_after_utc - now
    return (
        certificate.not_valid_before_utc <= now
        and remaining > datetime.timedelta(days=RENEW_DAYS)
        and certificate.public_key() == key.public_key()
        and {_general_name(host) for host in hosts} <= set(names)
    )


def _certificate_text(path: Path) -> str:
    """Return the first certificate of a PEM file.

    Raises:
        FileError: If there is none.
    """
    _, begin, rest = path.read_text("ascii", "replace").partition(ssl.PEM_HEADER)
    body, end, _ = rest.partition(ssl.PEM_FOOTER)
    if not begin or not end:
        raise FileError(path, "contains no certificate", "pass a PEM file")
    return f"{begin}{body}{end}\n"
