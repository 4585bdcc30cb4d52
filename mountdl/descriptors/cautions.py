"""Gather what a reader drops, so that someone can see why.

Law: no more than `MAX_CAUTIONS` are kept, however bad the document; the rest is counted.
"""

from mountdl.descriptors.limits import MAX_CAUTIONS
from mountdl.descriptors.model import Caution

_LONGEST_QUOTE = 80


def quoted(text: str) -> str:
    """Return *text* as it may stand in a message: quoted, control characters escaped, not too long."""
    if len(text) > _LONGEST_QUOTE:
        text = text[: _LONGEST_QUOTE - 1] + "…"
    return printable(f'"{text}"')


def printable(text: str) -> str:
    """Return *text* without what could command a terminal: descriptors come from strangers."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class Cautions:
    """The cautions of one document; *file* is the entry that is being read, or None."""

    def __init__(self) -> None:
        self.file: str | None = None
        self._kept: list[Caution] = []
        self._more = 0

    def add(self, code: str, message: str) -> None:
        """Note something dropped or doubtful about the entry that is being read."""
        if len(self._kept) < MAX_CAUTIONS:
            self._kept.append(Caution(code, message, self.file))
        else:
            self._more += 1

    def kept(self) -> tuple[Caution, ...]:
        """Return all that are kept, in the order in which they came."""
        if not self._more:
            return tuple(self._kept)
        return (*self._kept, Caution("more-warnings", f"{self._more} more warnings are not shown"))
