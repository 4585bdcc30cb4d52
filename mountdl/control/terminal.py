"""How wide the terminal is that somebody reads on."""

import os
from contextlib import suppress
from typing import TextIO

from mountdl.control.text import short

USUAL = 80
"""Columns where there is no terminal, or one that does not say."""


def columns(stream: TextIO) -> int:
    """Return how many columns *stream* shows."""
    with suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or USUAL
    return USUAL


def fitting(line: str, stream: TextIO) -> str:
    """Return *line*, its end left out where it would wrap on *stream*: what wraps can't be drawn over."""
    return short(line, columns(stream) - 1)
