"""What `mountdl fetch` tells: bars on a terminal, now and then a summary elsewhere, and what became of each file.

Law: finished files go to standard output, a name a line; everything else is for people and goes to standard error.
Who no longer listens stops no download.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

from mountdl.control import terminal, text
from mountdl.control.text import shown

RHYTHM = 0.2
"""Seconds between two looks at how far it is."""
MOST_BARS = 8
_BAR = 20
_NAME = 12
"""Columns that a name gets at least."""
_UP = "\x1b[{}A"
_CLEAR = "\r\x1b[J"


@dataclass(frozen=True, slots=True)
class Line:
    """A file on its way: *here* of *size* bytes, at *rate* bytes a second; *state* where it does not just come."""

    name: str
    size: int
    here: int
    rate: float
    state: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """*done* of *files* are finished, *failed* are not to be had; *waiting* sources have yet to tell all theirs.

    *awaited* says why one of them does not.
    """

    files: int
    done: int
    failed: int
    waiting: int
    awaited: str = ""


class Report:
    """Tells on *stream*. *quiet*: of failures only. *interval*: seconds between summaries; 0 for none."""

    def __init__(self, stream: TextIO, *, quiet: bool, interval: float) -> None:
        self._stream, self.quiet, self._interval = stream, quiet, interval
        self._terminal = stream.isatty() and not quiet and os.environ.get("TERM") != "dumb"  # which can't go up a line
        self._drawn = 0
        self._lost: OSError | None = None
        self._due = time.monotonic() + interval

    def show(self, lines: Sequence[Line], totals: Totals) -> None:
        """Draw how far all is, or write a summary if it is time for one."""
        if self._terminal:
            self._erase()
            drawn = [bar(line, terminal.columns(self._stream) - 1) for line in lines[:MOST_BARS]]
            drawn.append(terminal.fitting(summary(lines, totals), self._stream))
            self._put("\n".join(drawn) + "\n")
            self._drawn = len(drawn)
        elif self._interval and not self.quiet and time.monotonic() >= self._due:
            self._due = time.monotonic() + self._interval
            self._say(summary(lines, totals))
            for line in lines[:MOST_BARS]:
                self._say(f"  {progress(line)}  {shown(line.name)}")

    def finished(self, path: str) -> None:
        """Tell that *path* is there, whole."""
        self._erase()
        try:
            print(path, flush=True)
        except OSError as error:
            self._lost = error

    def remark(self, sentence: str) -> None:
        """Tell *sentence*, whether it is quiet or not."""
        self._erase()
        self._say(f"mountdl: {shown(sentence)}")

    def close(self) -> None:
        """Draw nothing any more. Raises OSError when standard output took not all names of finished files."""
        self._erase()
        if self._lost is not None:
            raise self._lost

    def _say(self, line: str) -> None:
        self._put(f"{line}\n")

    def _put(self, said: str) -> None:
        with suppress(OSError):
            self._stream.write(said)
            self._stream.flush()

    def _erase(self) -> None:
        if self._drawn:
            self._put(_UP.format(self._drawn) + _CLEAR)
            self._drawn = 0


def progress(line: Line) -> str:
    """Return how far a file is, in one phrase."""
    here = f"{text.percent(line.here, line.size):>4}  {text.size(line.here):>8} of {text.size(line.size)}"
    return f"{here}  {text.rate(line.rate) or line.state:>11}{left(line)}"


def bar(line: Line, width: int) -> str:
    """Return how far a file is, drawn in *width* columns, its name at the end; where it is narrow, without the bar."""
    full = _BAR if line.here >= line.size else _BAR * line.here // line.size
    drawn = f"[{'#' * full}{'.' * (_BAR - full)}] {progress(line)}"
    if width - len(drawn) < _NAME:
        drawn = f"{text.percent(line.here, line.size):>4} {text.rate(line.rate) or line.state:>11}"
    return text.short(f"{drawn}  {shown(line.name)}", width)


def left(line: Line) -> str:
    """Return how long the rest will take, if that can be told."""
    if line.rate < 1 or line.here >= line.size:
        return " " * 9
    seconds = int((line.size - line.here) / line.rate)
    if seconds >= 100 * 3600:
        return f"{seconds // 86400} d".rjust(9)
    hours = f"{seconds // 3600}:{seconds // 60 % 60:02}" if seconds >= 3600 else f"{seconds // 60}"
    return f"{hours}:{seconds % 60:02}".rjust(9)


def summary(lines: Sequence[Line], totals: Totals) -> str:
    """Return how far all is together."""
    parts = [f"{totals.done} of {text.counted(totals.files, 'file')}"]
    if totals.failed:
        parts.append(f"{totals.failed} failed")
    if totals.waiting:
        parts.append(f"{text.counted(totals.waiting, 'source')} yet to tell all files")
    if rate := text.rate(sum(line.rate for line in lines)):
        parts.append(rate)
    if totals.waiting and totals.awaited:
        parts.append(shown(totals.awaited))
    return ", ".join(parts)
