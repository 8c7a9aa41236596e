from __future__ import annotations

import socket

import pytest

from waldo.web.addresses import REFRESH_S, Hosts, machine_addresses, machine_names, network_address, normalized


def test_the_machine_is_reached_by_its_names_and_addresses() -> None:
    hosts = Hosts()
    for host in [*machine_names(), *machine_addresses(), socket.gethostname().upper(), network_address()]:
        assert hosts.accept(host), host
    assert {"127.0.0.1", "::1"} <= set(machine_addresses())


@pytest.mark.parametrize("host", ["evil.example", "192.0.2.7", "127.0.0.1.nip.io", "", "localhost.evil.example"])
@pytest.mark.parametrize("loopback", [True, False])
def test_other_hosts_are_refused_unless_they_are_configured(host: str, loopback: bool) -> None:
    assert not Hosts(loopback=loopback).accept(host)
    assert Hosts(["robots.example"], loopback=loopback).accept("Robots.Example.")


def test_on_the_loopback_interface_the_network_address_is_refused() -> None:
    hosts = Hosts(loopback=True, addresses=lambda: ["10.0.0.5"])
    assert not hosts.accept("10.0.0.5")
    assert hosts.accept("127.0.0.1")
    assert hosts.accept("localhost")


def test_a_new_address_is_found_and_unknown_hosts_do_not_cause_work() -> None:
    now, reads, addresses = [100.0], [0], ["10.0.0.5"]

    def read() -> list[str]:
        reads[0] += 1
        return list(addresses)

    hosts = Hosts(addresses=read, clock=lambda: now[0])
    assert hosts.accept("10.0.0.5")
    for _ in range(100):
        assert not hosts.accept("10.0.0.6")
    assert reads[0] == 1
    addresses.append("10.0.0.6")
    now[0] += REFRESH_S
    assert hosts.accept("10.0.0.6")


def test_normalized() -> None:
    assert normalized("ROBOT.local.") == "robot.local"
    assert normalized("2001:0DB8::0001") == "2001:db8::1"
