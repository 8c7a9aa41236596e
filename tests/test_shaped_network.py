"""The shaped network itself: delay, loss, rate and cut, also without privileges, and nothing remains after a crash."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.machine import NAMESPACES
from tests.shaped_network import Link, ShapedNetwork

Shape = Callable[[Link], ShapedNetwork]
SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from shaped_network import Link, NamespacesError, ShapedNetwork
"""


def connected(network: ShapedNetwork) -> tuple[socket.socket, socket.socket]:
    """Return a connection: the server's socket and the client's."""
    with network.listen() as listening:
        client = network.connect(listening.getsockname()[1])
        return listening.accept()[0], client


def received(source: socket.socket) -> bytes:
    """Return all that arrives until the other side closes the connection."""
    return b"".join(iter(lambda: source.recv(65536), b""))


def send(target: socket.socket, data: bytes) -> threading.Thread:
    """Send data and close the socket, on a thread."""

    def run() -> None:
        with target:
            target.sendall(data)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def require_user_namespaces() -> None:
    """Skip the test if this machine allows none."""
    if subprocess.run(["unshare", "--map-root-user", "--net", "test", "-w", "/dev/net/tun"]).returncode:
        pytest.skip(NAMESPACES)


def test_an_answer_takes_a_round_trip(shape_network: Shape) -> None:
    server, client = connected(shape_network(Link(round_trip_s=0.1)))
    with server, client:
        start = time.monotonic()
        client.sendall(b"?")
        assert server.recv(1) == b"?"
        assert time.monotonic() - start >= 0.05
        server.sendall(b"!")
        assert client.recv(1) == b"!"
        assert time.monotonic() - start >= 0.1


def test_lost_packets_are_sent_again(shape_network: Shape) -> None:
    network = shape_network(Link(round_trip_s=0.01, loss=0.03))
    server, client = connected(network)
    data = os.urandom(2_000_000)
    with client:
        sending = send(server, data)
        assert received(client) == data
        sending.join()
    counts = network.packets()
    # 1400 packets at least, of which 3 % are 42 with a standard deviation of 6.
    assert 15 < counts["dropped"] < counts["forwarded"] / 5


def test_without_loss_no_packet_is_dropped(shape_network: Shape) -> None:
    network = shape_network(Link())
    server, client = connected(network)
    with client:
        sending = send(server, bytes(2_000_000))
        assert len(received(client)) == 2_000_000
        sending.join()
    assert network.packets()["dropped"] == 0


def test_a_limited_rate_takes_its_time(shape_network: Shape) -> None:
    server, client = connected(shape_network(Link(rate_bytes_s=400_000)))
    start = time.monotonic()
    with client:
        sending = send(server, bytes(200_000))
        assert len(received(client)) == 200_000
        sending.join()
    assert time.monotonic() - start >= 0.4


def test_a_cut_link_delivers_nothing_until_it_is_restored(shape_network: Shape) -> None:
    link = Link(round_trip_s=0.01)
    network = shape_network(link)
    server, client = connected(network)
    with server, client:
        network.shape(replace(link, cut=True))
        client.sendall(b"?")
        assert select.select([server], [], [], 0.3)[0] == []
        network.shape(link)
        assert server.recv(1) == b"?"


def test_the_sides_are_not_on_this_machines_network(shape_network: Shape) -> None:
    network = shape_network(Link())
    with network.listen() as listening, pytest.raises(OSError, match=r"timed out|unreachable|refused"):
        socket.create_connection(listening.getsockname(), timeout=2)


def test_nothing_remains_of_a_program_that_is_killed(shape_network: Shape) -> None:
    shape_network(Link())
    code = SCRIPT + "network = ShapedNetwork(Link()); print(network.helper.pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        helper = os.pidfd_open(int(program.stdout.readline()))
        try:
            assert select.select([helper], [], [], 0)[0] == []
            program.send_signal(signal.SIGKILL)
            assert select.select([helper], [], [], 60)[0] == [helper]
        finally:
            os.close(helper)


def test_user_namespaces_are_enough() -> None:
    require_user_namespaces()
    code = SCRIPT + (
        "network = ShapedNetwork(Link()); listening = network.listen(); network.connect(listening.getsockname()[1])\n"
        "print(' '.join(network.client_command('true')))"
    )
    drop = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"] if os.geteuid() == 0 else []
    done = subprocess.run([*drop, sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--user" in done.stdout


def test_a_machine_that_allows_no_namespaces_is_recognized() -> None:
    require_user_namespaces()
    code = SCRIPT + (
        "from pathlib import Path\n"
        "Path('/proc/sys/user/max_user_namespaces').write_text('0')\n"
        "Path('/proc/sys/user/max_net_namespaces').write_text('0')\n"
        "try:\n    ShapedNetwork(Link())\nexcept NamespacesError: print('refused')"
    )
    done = subprocess.run(["unshare", "-Ur", sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "refused\n", done.stderr
