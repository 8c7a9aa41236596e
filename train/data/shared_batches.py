"""Batches that go from a DataLoader's worker to its parent in memory that is used again.

torch gives every batch of a worker new shared memory, whose pages the kernel clears one by one: for 22 MB of pictures
that takes as long as decoding a third of them. Here a worker keeps blocks; the parent marks one as free when the last
tensor over it is gone. A block that is not free is never touched, and where all are in use torch's own way is taken.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np
import torch

HEAD_BYTES = 4096
"""A block begins with a page of its own; its first byte says whether the block is in use."""

MOST_BLOCKS = 64
"""Blocks of one size that a worker keeps; a training that holds on to more batches gets new memory for each."""

FREE, IN_USE = 0, 1


@dataclass(eq=False)
class Block:
    """Memory that this process and its parent see."""

    number: int
    """Tells it from the other blocks of its process."""
    fd: int
    """The file descriptor of the memory."""
    memory: mmap.mmap
    """The memory, head included."""
    known: bool = field(default=False)
    """Whether the parent has it."""
    sent: bool = field(default=False)
    """Whether the parent has what is in it now, and frees it."""

    @classmethod
    def create(cls, number: int, nbytes: int) -> Block:
        """Return a new block for so many bytes."""
        fd = os.memfd_create("waldo-batch", os.MFD_CLOEXEC)
        os.ftruncate(fd, HEAD_BYTES + nbytes)
        return cls(number, fd, mmap.mmap(fd, HEAD_BYTES + nbytes))

    @property
    def nbytes(self) -> int:
        """How many bytes it has for pictures."""
        return len(self.memory) - HEAD_BYTES


class Pool:
    """The blocks of one worker."""

    def __init__(self) -> None:
        """Begin without any."""
        self._blocks: dict[int, list[Block]] = {}
        self._count = 0

    def tensor(self, shape: Sequence[int]) -> torch.Tensor | None:
        """Return an unfilled uint8 tensor over a block that nobody uses; None where there is none."""
        if not hasattr(os, "memfd_create"):
            return None
        nbytes = int(np.prod(shape))
        blocks = self._blocks.setdefault(nbytes, [])
        block = next((block for block in blocks if block.memory[0] == FREE), None)
        if block is None:
            if len(blocks) == MOST_BLOCKS:
                return None
            block = Block.create(self._count, nbytes)
            self._count += 1
            blocks.append(block)
        block.memory[0], block.sent = IN_USE, False
        array = np.asarray(_Bytes(block.memory, block))
        tensor = torch.from_numpy(array).reshape(tuple(shape)).as_subclass(PooledTensor)
        tensor.block = block
        return tensor


class PooledTensor(torch.Tensor):
    """A tensor over a whole block: in its worker like any other, and a plain one in the parent."""

    block: Block | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Travel as the number of its block; what is cut or computed from it travels as torch has it."""
        block = self.block
        if block is None:
            return super().__reduce_ex__(protocol)
        fd = None if block.known else DupFd(block.fd)
        block.known = block.sent = True
        return _received, (os.getpid(), block.number, block.nbytes, fd, tuple(self.shape))

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Give back plain tensors: a part of it has no block of its own."""
        return torch._C._disabled_torch_function_impl(func, types, args, kwargs or {})  # pyright: ignore[reportPrivateUsage]


@cache
def pool() -> Pool:
    """Return this worker's blocks; a fork begins with its own."""
    return Pool()


os.register_at_fork(after_in_child=pool.cache_clear)

_received_blocks: dict[tuple[int, int], mmap.mmap] = {}
"""Worker and block -> its memory in this process."""


class _Bytes:
    """What a tensor's memory hangs on: gone with the last tensor over it, it marks the block as free.

    In the worker that filled it (`block`) only where it was not sent: what was sent is the parent's to free.
    """

    def __init__(self, memory: mmap.mmap, block: Block | None = None) -> None:
        self._memory, self._block = memory, block
        start = np.frombuffer(memory, np.uint8, 1, HEAD_BYTES).ctypes.data
        shape = (len(memory) - HEAD_BYTES,)
        self.__array_interface__ = {"shape": shape, "typestr": "|u1", "version": 3, "data": (start, False)}

    def __del__(self) -> None:
        if self._block is None or not self._block.sent:
            self._memory[0] = FREE


def _received(worker: int, number: int, nbytes: int, fd: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the tensor of a block in the parent."""
    if fd is not None:
        # A tensor that still lives keeps its memory; the list need not keep that of workers that are gone.
        for key in [key for key in _received_blocks if not os.path.exists(f"/proc/{key[0]}")]:
            del _received_blocks[key]
        received = fd.detach()
        try:
            _received_blocks[worker, number] = mmap.mmap(received, HEAD_BYTES + nbytes)
        finally:
            os.close(received)
    return torch.from_numpy(np.asarray(_Bytes(_received_blocks[worker, number]))).reshape(shape)
