"""The certificate that is made at the first start."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from waldo.errors import FileError
from waldo.web.addresses import Hosts
from waldo.web.tls.certificate import RENEW_DAYS, VALID_DAYS, ServerCertificate, create_pem

NOW_S = 1_800_000_000.0
DAY_S = 86400.0


def hosts(*addresses: str) -> Hosts:
    return Hosts(["robot.example"], addresses=lambda: list(addresses or ["127.0.0.1", "::1", "10.0.0.5"]))


def parsed(path: Path) -> x509.Certificate:
    content = path.read_bytes()
    return x509.load_pem_x509_certificate(content[content.index(b"-----BEGIN CERTIFICATE") :])


def names(path: Path) -> x509.SubjectAlternativeName:
    return parsed(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_two_installations_have_different_keys(tmp_path: Path) -> None:
    keys, prints = set(), set()
    for name in ("one", "two"):
        made = ServerCertificate(certificate=tmp_path / name / "server.pem", hosts=hosts())
        key = serialization.load_pem_private_key(made.certificate.read_bytes(), None)
        keys.add(
            key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        prints.add(made.fingerprint())
    assert len(keys) == len(prints) == 2


def test_only_its_owner_can_read_the_key(tmp_path: Path) -> None:
    made = ServerCertificate(certificate=tmp_path / "web" / "server.pem", hosts=hosts())
    assert stat.S_IMODE(made.certificate.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.certificate.parent.stat().st_mode) == 0o700
    assert [one.name for one in made.certificate.parent.iterdir()] == ["server.pem"]


def test_it_names_the_host_its_addresses_and_localhost(tmp_path: Path) -> None:
    made = ServerCertificate(certificate=tmp_path / "server.pem", hosts=hosts())
    found = names(made.certificate)
    assert {"localhost", "robot.example"} <= set(found.get_values_for_type(x509.DNSName))
    assert ipaddress.ip_address("10.0.0.5") in found.get_values_for_type(x509.IPAddress)


def test_it_is_kept_by_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "server.pem"
    first = ServerCertificate(certificate=path, hosts=hosts()).fingerprint()
    assert ServerCertificate(certificate=path, hosts=hosts()).fingerprint() == first
    # An interface that is off for a while does not change it.
    assert ServerCertificate(certificate=path, hosts=hosts("127.0.0.1")).fingerprint() == first


def test_it_is_renewed_before_it_expires(tmp_path: Path) -> None:
    path = tmp_path / "server.pem"
    path.write_bytes(create_pem(hosts().all(), NOW_S))
    made = ServerCertificate(certificate=path)
    made.hosts = hosts()
    end_s = parsed(path).not_valid_after_utc.timestamp()
    assert not made.renew(end_s - (RENEW_DAYS + 1) * DAY_S)
    before = made.fingerprint()
    assert made.renew(end_s - (RENEW_DAYS - 1) * DAY_S)
    assert made.fingerprint() != before
    assert parsed(path).not_valid_after_utc - parsed(path).not_valid_before_utc == datetime.timedelta(VALID_DAYS)


def test_it_is_renewed_for_a_new_address(tmp_path: Path) -> None:
    path = tmp_path / "server.pem"
    made = ServerCertificate(certificate=path, hosts=hosts("127.0.0.1"))
    before = made.fingerprint()
    made.hosts = hosts("127.0.0.1", "10.0.0.9")
    assert made.renew()
    assert made.fingerprint() != before
    assert ipaddress.ip_address("10.0.0.9") in names(path).get_values_for_type(x509.IPAddress)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_damaged_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "server.pem"
    path.write_bytes(content)
    made = ServerCertificate(certificate=path, hosts=hosts())
    assert len(made.fingerprint()) == 95
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ones_own_certificate_is_used_and_never_changed(tmp_path: Path) -> None:
    pem = create_pem(["robot.example"], NOW_S)
    at = pem.index(b"-----BEGIN CERTIFICATE")
    certificate, key = tmp_path / "own.crt", tmp_path / "own.key"
    key.write_bytes(pem[:at])
    certificate.write_bytes(pem[at:])
    own = ServerCertificate(certificate=certificate, key=key)
    assert not own.renew(NOW_S + 10_000 * DAY_S)
    assert certificate.read_bytes() == pem[at:]
    other = tmp_path / "other.key"
    other.write_bytes(create_pem(["robot.example"], NOW_S)[:at])
    with pytest.raises(FileError, match="cannot be used for TLS"):
        ServerCertificate(certificate=certificate, key=other)
    with pytest.raises(FileError, match=r"none\.key: cannot be used for TLS"):
        ServerCertificate(certificate=certificate, key=tmp_path / "none.key")


def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    made = ServerCertificate(certificate=tmp_path / "server.pem", hosts=hosts())
    assert made.context.minimum_version == ssl.TLSVersion.TLSv1_2
