"""The checksum of Unitree's low-level messages: CRC-32 (polynomial 04C11DB7) over the 32-bit words of the C struct.

The initial value is FFFFFFFF, there is no final inversion, the most significant bit of each word comes first, and the
last word (the checksum) is excluded (unitree_sdk2_python, unitree_sdk2py/utils/crc.py). This equals zlib's CRC over
words with reversed bits.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Any

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Every byte with its bits reversed."""

_HG_CMD = struct.Struct("<2B2x" + "B3x5fI" * 35 + "5I")
_HG_STATE = struct.Struct("<2I2B2xI" + "13fh2x" + "B3x4f2hf7I" * 35 + "40B5I")
_GO_CMD = struct.Struct("<4B4IH2x" + "B3x5f3I" * 20 + "4B" + "55Bx2I")
_GO_STATE = struct.Struct("<4B4IH2x" + "13fb3x" + "B3x7fb3x3I" * 20 + "4BiH4b15H" + "8hI41B3xf2b2x2f4h2I")


def crc32_words(data: bytes) -> int:
    """Return Unitree's checksum of little-endian 32-bit words; the length of `data` is a multiple of 4."""
    big_endian = struct.pack(f">{len(data) // 4}I", *struct.unpack(f"<{len(data) // 4}I", data))
    return int(f"{zlib.crc32(big_endian.translate(_REVERSED)) ^ 0xFFFFFFFF:032b}"[::-1], 2)


def _flat(message: Any) -> Iterable[Any]:
    """Yield the numbers of a message and its nested messages in the order of the fields."""
    if isinstance(message, list | tuple | bytes):
        for value in message:
            yield from (value,) if isinstance(value, int | float) else _flat(value)
        return
    for name in message.__dataclass_fields__:
        value = getattr(message, name)
        yield from (value,) if isinstance(value, int | float) else _flat(value)


_LAYOUTS = {
    "unitree_hg.msg.dds_.LowCmd_": _HG_CMD,
    "unitree_hg.msg.dds_.LowState_": _HG_STATE,
    "unitree_go.msg.dds_.LowCmd_": _GO_CMD,
    "unitree_go.msg.dds_.LowState_": _GO_STATE,
}
"""Name of a DDS type -> layout of its C struct."""


def checksum(message: Any) -> int:
    """Return the value of `message.crc` for a LowCmd or LowState."""
    return crc32_words(_LAYOUTS[message.__idl_typename__].pack(*_flat(message))[:-4])
