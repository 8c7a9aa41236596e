"""Reusable shared memory for batches from a DataLoader's worker to its parent.

torch allocates new shared memory for every batch of a worker, and the kernel clears its pages one by one: for 22 MB of
images that takes as long as decoding a third of them. Here a worker keeps memory blocks, and the parent marks a block
as free when the last tensor that uses it is deleted. A block in use is never written to. If all blocks are in use,
torch's own shared memory is used.

Measured with two workers and two cameras, against torch's shared memory and the same collate function, in samples per
second: 1.0 to 1.3 times at 96 x 96 pixels and 1.2 to 1.5 times at 224 x 224.
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

HEADER_BYTES = 4096
"""Size of the header page of a block; its first byte is FREE or IN_USE [bytes]."""

MAX_BLOCKS = 64
"""Maximum number of blocks of one size in a worker; further batches get new memory."""

FREE, IN_USE = 0, 1


@dataclass(eq=False)
class Block:
    """Memory that is shared between a worker and its parent."""

    number: int
    """Number within the process."""
    fd: int
    """File descriptor of the memory."""
    memory: mmap.mmap
    """The memory, including the header."""
    known: bool = field(default=False)
    """Whether the parent has mapped the block."""
    sent: bool = field(default=False)
    """Whether the current contents were sent to the parent, which then frees the block."""

    @classmethod
    def create(cls, number: int, nbytes: int) -> Block:
        """Return a new block for `nbytes` bytes."""
        fd = os.memfd_create("waldo-batch", os.MFD_CLOEXEC)
        os.ftruncate(fd, HEADER_BYTES + nbytes)
        return cls(number, fd, mmap.mmap(fd, HEADER_BYTES + nbytes))

    @property
    def nbytes(self) -> int:
        """Size without the header [bytes]."""
        return len(self.memory) - HEADER_BYTES


class Pool:
    """The blocks of one worker."""

    def __init__(self) -> None:
        """Initialize without blocks."""
        self._blocks: dict[int, list[Block]] = {}
        self._count = 0

    def tensor(self, shape: Sequence[int]) -> torch.Tensor | None:
        """Return an uninitialized uint8 tensor over a free block; None if there is none."""
        if not hasattr(os, "memfd_create"):
            return None
        nbytes = int(np.prod(shape))
        blocks = self._blocks.setdefault(nbytes, [])
        block = next((block for block in blocks if block.memory[0] == FREE), None)
        if block is None:
            if len(blocks) == MAX_BLOCKS:
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
    """A tensor over a whole block in a worker; it arrives in the parent as a plain tensor."""

    block: Block | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle as the number of the block; tensors derived from it are pickled by torch."""
        block = self.block
        if block is None:
            return super().__reduce_ex__(protocol)
        fd = None if block.known else DupFd(block.fd)
        block.known = block.sent = True
        return _received, (os.getpid(), block.number, block.nbytes, fd, tuple(self.shape))

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Return plain tensors: a part of a block has no block of its own."""
        return torch._C._disabled_torch_function_impl(func, types, args, kwargs or {})  # noqa: SLF001


@cache
def pool() -> Pool:
    """Return the blocks of this process; a forked process has its own."""
    return Pool()


os.register_at_fork(after_in_child=pool.cache_clear)

_received_blocks: dict[tuple[int, int], mmap.mmap] = {}
"""(process id of the worker, number of the block) -> memory of the block in this process."""


class _Bytes:
    """Owner of a tensor's memory: marks the block as free when the last tensor over it is deleted.

    In the worker that filled the block, this happens only if the contents were not sent: then the parent frees it.
    """

    def __init__(self, memory: mmap.mmap, block: Block | None = None) -> None:
        self._memory, self._block = memory, block
        start = np.frombuffer(memory, np.uint8, 1, HEADER_BYTES).ctypes.data
        shape = (len(memory) - HEADER_BYTES,)
        self.__array_interface__ = {"shape": shape, "typestr": "|u1", "version": 3, "data": (start, False)}

    def __del__(self) -> None:
        if self._block is None or not self._block.sent:
            self._memory[0] = FREE


def _received(worker: int, number: int, nbytes: int, fd: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the tensor of a block in the parent."""
    if fd is not None:
        # A tensor keeps its own memory alive, so entries of workers that have exited can be dropped.
        for key in [key for key in _received_blocks if not os.path.exists(f"/proc/{key[0]}")]:
            del _received_blocks[key]
        received = fd.detach()
        try:
            _received_blocks[worker, number] = mmap.mmap(received, HEADER_BYTES + nbytes)
        finally:
            os.close(received)
    return torch.from_numpy(np.asarray(_Bytes(_received_blocks[worker, number]))).reshape(shape)
