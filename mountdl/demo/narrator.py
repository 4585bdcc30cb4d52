"""How the demo talks: short lines, bold and green on a terminal, plain text when piped."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from mountdl.control.terminal import fitting
from mountdl.control.text import rate, shown, size

_BOLD, _GREEN, _RED, _PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[31m", "\x1b[0m"
_CLEAR = "\r\x1b[K"
_REDRAW = 0.1
_BAR = 30


class Narrator:
    """Writes to *out*; *terminal* allows colours and a progress line that is drawn over."""

    def __init__(self, out: TextIO, *, terminal: bool) -> None:
        self._out = out
        self.terminal = terminal
        self._colours = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._acts = 0
        self._start = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since it began to talk."""
        return time.monotonic() - self._start

    def act(self, title: str) -> None:
        """Begin the next act of the story."""
        self._acts += 1
        self._line(f"\n{self._painted(f'{self._acts}. {title}', _BOLD)}")

    def say(self, text: str) -> None:
        """Say a sentence of the story. *text* may quote names and answers from elsewhere."""
        self._line(f"   {shown(text)}")

    def good(self, text: str) -> None:
        """Say something that proves what the demo is about."""
        self._line(f"   {self._painted(shown(text), _GREEN)}")

    def bad(self, text: str) -> None:
        """Say something that should not be."""
        self._line(f"   {self._painted(shown(text), _RED)}")

    @contextmanager
    def progress(self, total: int) -> Iterator["Progress"]:
        """Show how much of *total* bytes is done, on a terminal; the line is gone afterwards."""
        bar = Progress(self, total)
        try:
            yield bar
        finally:
            if self.terminal:
                self.draw("")

    def draw(self, text: str) -> None:
        """Draw *text* over the progress line."""
        print(f"{_CLEAR}{fitting(text, self._out)}", end="", file=self._out, flush=True)

    def _line(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def _painted(self, text: str, paint: str) -> str:
        return f"{paint}{text}{_PLAIN}" if self._colours else text


class Progress:
    """A bar that is redrawn ten times a second at most."""

    def __init__(self, narrator: Narrator, total: int) -> None:
        self._narrator, self._total = narrator, total
        self._start = self._drawn = time.monotonic()

    def at(self, done: int) -> None:
        """Show that *done* bytes are done."""
        now = time.monotonic()
        if not self._narrator.terminal or now - self._drawn < _REDRAW:
            return
        self._drawn = now
        filled = _BAR * done // max(1, self._total)
        bar = "#" * filled + "." * (_BAR - filled)
        self._narrator.draw(f"   [{bar}] {size(done)} of {size(self._total)}, {rate(done / (now - self._start))}")
