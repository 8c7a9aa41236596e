"""A server and a client on two networks, between which packets are late, lost, and limited in rate.

Two network namespaces have one TUN device each. A helper process forwards IP packets between the devices, each after
half of a round trip, and drops a random part of them: TCP on both sides is the kernel's, and retransmits. Sockets of
either namespace are passed to the test, which uses them as any others. Neither netem nor iproute2 is needed.

The namespaces belong to the helper, which exits when its test does, even if that crashes; with it the devices vanish.
Root needs CAP_SYS_ADMIN or user namespaces, other users user namespaces and a /dev/net/tun that they may open.
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SERVER, CLIENT = "10.77.0.1", "10.77.0.2"
"""Addresses of the two sides."""
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
"""Request and flags that create a TUN device without packet information (linux/if_tun.h)."""
SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFFLAGS = 0x8916, 0x891C, 0x8914
"""Requests that configure a network interface (linux/sockios.h)."""
IFF_UP, IFF_RUNNING = 0x1, 0x40
"""Flags of a network interface (linux/if.h)."""
MAX_PACKET = 65536
"""Size of the buffer for a packet [bytes]."""
FORBIDDEN = (errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENODEV, errno.ENOSPC, errno.EINVAL)
"""Errors of machines that allow no namespaces or no TUN devices."""


class NamespacesError(Exception):
    """This machine allows no network namespaces, or no TUN devices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How packets travel, in both directions."""

    round_trip_s: float = 0.0
    """Duration of a round trip [s]: each direction has half of it."""
    loss: float = 0.0
    """Part of the packets that is dropped in each direction, 0 to 1."""
    rate_bytes_s: float = 0.0
    """Rate in each direction [bytes/s]; 0 for an unlimited one."""
    queue_bytes: int = 100_000
    """Size of the queue of a limited rate; packets beyond it are dropped [bytes]."""
    cut: bool = False
    """Whether every packet is dropped."""


class ShapedNetwork:
    """Two sides and their link; ends with the process that made it."""

    def __init__(self, link: Link, seed: int = 0) -> None:
        """Start the helper process; raises NamespacesError if this machine allows none.

        Args:
            link: How packets travel at first.
            seed: Of the packets that are lost.
        """
        self._control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            command = [sys.executable, __file__, str(other.fileno()), str(seed)]
            self.helper = subprocess.Popen(command, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL)
        try:
            self._enter, _ = self._receive()
            self.shape(link)
        except BaseException:
            self.close()
            raise

    def shape(self, link: Link) -> None:
        """Change the link; packets that are on their way keep their time of arrival, unless it is cut."""
        self._ask("shape", **asdict(link))

    def listen(self) -> socket.socket:
        """Return a socket of the server's side that listens on a free port."""
        made = self._socket("server")
        made.bind((SERVER, 0))
        made.listen(128)
        return made

    def connect(self, port: int, timeout_s: float = 60.0) -> socket.socket:
        """Return a socket of the client's side that is connected to a port of the server."""
        made = self._socket("client")
        made.settimeout(timeout_s)
        made.connect((SERVER, port))
        made.settimeout(None)
        return made

    def client_command(self, *words: str) -> list[str]:
        """Return a command that runs another one on the client's side."""
        return [*self._enter["command"], *words]

    def packets(self) -> dict[str, int]:
        """Return the number of packets that were forwarded, and of those that were dropped."""
        return self._ask("packets")[0]

    def close(self) -> None:
        """End the helper; both sides vanish when the last of their sockets is closed."""
        self._control.close()
        self.helper.wait(60)

    def _socket(self, side: str) -> socket.socket:
        _, descriptors = self._ask("socket", side=side)
        return socket.socket(fileno=descriptors[0])

    def _ask(self, name: str, **values: Any) -> tuple[dict[str, Any], list[int]]:
        self._control.send(json.dumps({"name": name, **values}).encode())
        return self._receive()

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        data, descriptors, _, _ = socket.recv_fds(self._control, 4096, 1)
        answer = json.loads(data or b'{"broken": "the helper has ended"}')
        if "forbidden" in answer:
            raise NamespacesError(answer["forbidden"])
        if "broken" in answer:
            raise RuntimeError(answer["broken"])
        return answer, descriptors


@contextmanager
def shaped_network(link: Link, seed: int = 0) -> Iterator[ShapedNetwork]:
    """Return a network that ends with the block."""
    network = ShapedNetwork(link, seed)
    try:
        yield network
    finally:
        network.close()


# The helper process.


@dataclass(slots=True)
class _Direction:
    """Packets from one device to the other."""

    source: int
    target: int
    dice: random.Random
    forwarded: int = 0
    dropped: int = 0
    _free_s: float = 0.0
    """When the packets before have left a link of limited rate."""
    _waiting: deque[tuple[float, bytes]] = field(default_factory=deque)
    """Packets and when they arrive, in this order."""

    def read(self, link: Link, now_s: float) -> None:
        """Take all packets of the source; those of IPv6, which nothing here uses, are ignored."""
        while True:
            try:
                packet = os.read(self.source, MAX_PACKET)
            except BlockingIOError:
                return
            if packet[0] >> 4 == 4:
                self._send(packet, link, now_s)

    def _send(self, packet: bytes, link: Link, now_s: float) -> None:
        is_lost = self.dice.random() < link.loss
        start_s = max(now_s, self._free_s) if link.rate_bytes_s else now_s
        if is_lost or link.cut or (start_s - now_s) * link.rate_bytes_s > link.queue_bytes:
            self.dropped += 1
            return
        self._free_s = start_s + (len(packet) / link.rate_bytes_s if link.rate_bytes_s else 0.0)
        due_s = self._free_s + link.round_trip_s / 2
        # A link does not reorder packets, even if its delay decreases.
        self._waiting.append((max(due_s, self._waiting[-1][0] if self._waiting else 0.0), packet))

    def deliver(self, link: Link, now_s: float) -> float:
        """Write the packets that arrive; return when the next one does."""
        while self._waiting and self._waiting[0][0] <= now_s:
            packet = self._waiting.popleft()[1]
            if link.cut:
                self.dropped += 1
                continue
            os.write(self.target, packet)
            self.forwarded += 1
        return self._waiting[0][0] if self._waiting else float("inf")


class _Helper:
    """Owns the namespaces and forwards their packets."""

    def __init__(self, seed: int) -> None:
        self.command = _enter_namespaces()
        self.sides = {"server": _namespace()}
        server = _device(SERVER)
        os.unshare(os.CLONE_NEWNET)
        # The process stays on the client's side, so that programs can be started there.
        self.sides["client"] = _namespace()
        client = _device(CLIENT)
        self.link = Link()
        pairs = ((server, client), (client, server))
        self.directions = [_Direction(one, other, random.Random(f"{seed}:{k}")) for k, (one, other) in enumerate(pairs)]

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], socket.socket | None]:
        """Carry out a request."""
        name = request.pop("name")
        if name == "shape":
            self.link = Link(**request)
        elif name == "socket":
            os.setns(self.sides[request["side"]], os.CLONE_NEWNET)
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            os.setns(self.sides["client"], os.CLONE_NEWNET)
            return {}, made
        return {key: sum(getattr(one, key) for one in self.directions) for key in ("forwarded", "dropped")}, None

    def run(self, control: socket.socket) -> None:
        """Forward packets until the other process closes the control socket, or ends."""
        sources = {one.source: one for one in self.directions}
        while True:
            now_s = time.monotonic()
            next_s = min(one.deliver(self.link, now_s) for one in self.directions)
            timeout_s = None if next_s == float("inf") else max(0.0, next_s - time.monotonic())
            ready, _, _ = select.select([control, *sources], [], [], timeout_s)
            for one in ready:
                if one is not control:
                    sources[one].read(self.link, time.monotonic())
            if control in ready:
                data = control.recv(4096)
                if not data:
                    return
                answer, made = self.answer(json.loads(data))
                _send(control, answer, made)


def _enter_namespaces() -> list[str]:
    """Enter a network namespace of this process's own; return the command that enters it from outside."""
    command = ["nsenter", "--target", str(os.getpid()), "--net"]
    try:
        os.unshare(os.CLONE_NEWNET)
    except PermissionError:
        user, group = os.geteuid(), os.getegid()
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        command += ["--user", "--preserve-credentials"]
    return command


def _namespace() -> int:
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _device(address: str) -> int:
    """Create a TUN device with an address in this namespace; return its file descriptor."""
    # An IPv6 address would be ready a second later: for Chromium a change of the network, which drops connections.
    with suppress(OSError):
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.0")):
            inet = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(control, request, struct.pack("16s16s8x", b"tun0", inet))
        for name in (b"lo", b"tun0"):
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", name, IFF_UP | IFF_RUNNING))
    return device


def _send(control: socket.socket, answer: dict[str, Any], made: socket.socket | None = None) -> None:
    data = [json.dumps(answer).encode()]
    if made is None:
        control.sendmsg(data)
        return
    with made:
        control.sendmsg(data, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [made.fileno()]))])


def _main() -> None:
    """Serve one network."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process decides when this one ends
    with socket.socket(fileno=int(sys.argv[1])) as control:
        try:
            helper = _Helper(int(sys.argv[2]))
        except OSError as error:
            _send(control, {"forbidden" if error.errno in FORBIDDEN else "broken": str(error)})
            return
        _send(control, {"command": helper.command})
        helper.run(control)


if __name__ == "__main__":
    _main()
