"""Memory that begins where a page does, which is what the kernel moves to and from a disk without a copy."""

import ctypes
from typing import Final

PAGE: Final = 4096
"""Bytes: the unit of what O_DIRECT (open(2)) moves, in memory and in a file."""


def padded(length: int) -> bytearray:
    """Return memory of which *length* bytes can be `aligned`."""
    return bytearray(length + PAGE)


def capacity(memory: bytearray) -> int:
    """Return how many bytes of *memory*, which is `padded`, can be `aligned`."""
    return len(memory) - PAGE


def aligned(memory: bytearray) -> memoryview:
    """Return the part of *memory*, which is `padded`, that begins where a page does, as long as was asked for."""
    start = -_address(memory) % PAGE
    return memoryview(memory)[start : start + capacity(memory)]


def starts_page(view: memoryview) -> bool:
    """Say whether *view* begins where a page does. What can't be written to is not asked, and doesn't."""
    return not view.readonly and _address(view) % PAGE == 0


def _address(memory: bytearray | memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
