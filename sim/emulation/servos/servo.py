"""The memory of one emulated servo."""

from __future__ import annotations


class Servo:
    """Memory and fault bits of one servo."""

    def __init__(self, size: int, id_register: int) -> None:
        """Create a servo with `size` bytes of memory, whose id is at the address `id_register`."""
        self.memory = bytearray(size)
        self._id_register = id_register
        self.persistent = b""
        """Persistent part of the memory (EEPROM)."""
        self.waiting: tuple[int, bytes] | None = None
        """Address and data of a registered write, executed by the next action instruction."""
        self.fault = 0
        """Fault bits, in the manufacturer's numbering."""
        self.overloaded_s = 0.0
        """Duration of the present overload [s]."""
        self.over_current_s = 0.0
        """Duration of the present over-current [s]."""
        self.step_goal: float | None = None
        """Goal of a mode that counts steps [counts]."""
        self.turns = 0
        """Whole turns that a multi-turn position leaves out: those since an unknown start [counts]."""
        self.timed: tuple[float, float] | None = None
        """Velocity and acceleration of a motion of given duration [counts/s, counts/s²]."""

    @property
    def id(self) -> int:
        """The servo's id on the bus."""
        return self.memory[self._id_register]

    def get(self, address: int, size: int) -> int:
        """Return an unsigned little-endian value."""
        return int.from_bytes(self.memory[address : address + size], "little")

    def signed(self, address: int, size: int) -> int:
        """Return a little-endian value in two's complement."""
        return int.from_bytes(self.memory[address : address + size], "little", signed=True)

    def magnitude(self, address: int, sign_bit: int) -> int:
        """Return a 16-bit little-endian value in sign-magnitude form."""
        value = self.get(address, 2)
        size = value & (1 << sign_bit) - 1
        return -size if value >> sign_bit & 1 else size

    def put(self, address: int, size: int, value: int) -> None:
        """Set a little-endian value; a negative one is stored as its two's complement."""
        self.memory[address : address + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")

    def put_magnitude(self, address: int, sign_bit: int, value: int) -> None:
        """Set a 16-bit little-endian value in sign-magnitude form; it is limited to what the bits express."""
        size = min(abs(value), (1 << sign_bit) - 1)
        self.put(address, 2, size | (1 << sign_bit if value < 0 else 0))

    def store(self, address: int, data: bytes) -> None:
        """Write the memory and its persistent part."""
        self.memory[address : address + len(data)] = data
        persistent = bytearray(self.persistent)
        persistent[address : address + len(data)] = data
        self.persistent = bytes(persistent)
