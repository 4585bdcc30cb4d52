"""Memory that begins where a page does, which is what the kernel moves to and from a disk without a copy."""

import ctypes
from typing import Final

PAGE: Final = 4096
"""Bytes: the unit of what O_DIRECT (open(2)) moves, in memory and in a file."""

Slot = ctypes.Array[ctypes.c_char]
"""A part of an `Arena`."""
Buffer = bytearray | Slot


def whole_pages(length: int) -> int:
    """Return the bytes of as many pages as hold *length*."""
    return -(-length // PAGE) * PAGE


def padded(length: int) -> bytearray:
    """Return memory of which *length* bytes can be `aligned`."""
    return bytearray(length + PAGE)


def capacity(buffer: Buffer) -> int:
    """Return how many bytes of *buffer*, which is `padded` or a slot, can be `aligned`."""
    return len(buffer) - PAGE if isinstance(buffer, bytearray) else len(buffer)


def aligned(buffer: Buffer) -> memoryview:
    """Return the part of *buffer* that begins where a page does, as long as was asked for."""
    if not isinstance(buffer, bytearray):
        return memoryview(buffer).cast("B")
    start = -_address(buffer) % PAGE
    return memoryview(buffer)[start : start + capacity(buffer)]


def starts_page(view: memoryview) -> bool:
    """Say whether *view* begins where a page does. What can't be written to is not asked, and doesn't."""
    return not view.readonly and _address(view) % PAGE == 0


def _address(memory: bytearray | memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
