"""A CAN bus over UDP multicast for programs that expect SocketCAN, where a program does not receive its own frames."""

from collections import deque

import can
from can.interfaces.udp_multicast import UdpMulticastBus


class Bus(UdpMulticastBus):
    """A bus that discards the frames that it sent itself."""

    def __init__(self, *arguments, **options):
        self._sent = deque(maxlen=1000)
        super().__init__(*arguments, **options)

    def send(self, msg, timeout=None):
        msg.arbitration_id = int(msg.arbitration_id)  # NumPy's integers cannot be packed
        self._sent.append((msg.arbitration_id, bytes(msg.data)))
        super().send(msg, timeout)

    def _recv_internal(self, timeout):
        message, filtered = super()._recv_internal(timeout)
        if message is not None and (frame := (message.arbitration_id, bytes(message.data))) in self._sent:
            self._sent.remove(frame)
            return None, filtered
        return message, filtered


def use(channel):
    """Let every program in this process open this bus, whatever it asks for."""

    def open_bus(*_arguments, **_options):
        return Bus(channel=channel)

    can.interface.Bus = can.Bus = open_bus
