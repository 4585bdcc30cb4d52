"""How far hashing is, on one line of a terminal; nothing where standard error is none."""

import sys
import time
from types import TracebackType

from mountdl.control import terminal, text
from mountdl.control.text import shown

_RHYTHM = 0.2
_ERASE = "\r\x1b[K"


class Progress:
    """A line about *total* bytes, gone at the end."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._name = ""
        self._started = time.monotonic()
        self._told = 0.0
        self._shown = False
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            print(_ERASE, end="", file=sys.stderr, flush=True)

    def start(self, name: str) -> None:
        """Say that the bytes of *name* come now."""
        self._name = name

    def add(self, count: int) -> None:
        """Take in that *count* more bytes are done."""
        self._done += count
        now = time.monotonic()
        if not self._terminal or now - self._told < _RHYTHM:
            return
        self._told = now
        self._shown = True
        rate = text.rate(self._done / max(now - self._started, 0.001))
        part = text.percent(self._done, self._total)
        line = terminal.fitting(f"{part:>4}  {rate:>11}  {shown(self._name)[:50]}", sys.stderr)
        print(f"{_ERASE}{line}", end="", file=sys.stderr, flush=True)
