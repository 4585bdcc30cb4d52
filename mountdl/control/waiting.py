"""`mountdl wait`: until a file is whole or can be played; on a terminal it is drawn how far that is.

The daemon keeps the time and fetches; hanging up takes the want along.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mountdl.control import client, terminal, text
from mountdl.control.registry import Entry, Registry
from mountdl.control.status import FileLine
from mountdl.control.text import shown
from mountdl.errors import ExitStatus, MountdlError, UsageError

_RHYTHM = 0.5
_ERASE = "\r\x1b[K"
_LAST = 1.0
"""Seconds that a question under way gets at the end; its answer is drawn no more."""


def run(path: Path, registry: Registry, *, what: str, timeout: float | None) -> None:
    """Return once the file *path* is whole or playable. UsageError, status TIMEOUT, after *timeout* seconds."""
    entry, inside = client.locate_file(path, registry)
    # The daemon keeps the time; the margin is for its answer.
    patience = None if timeout is None else timeout + 10
    try:
        with _drawn(entry, inside):
            client.ask(entry, {"verb": "want", "path": inside, "what": what, "timeout": timeout}, timeout=patience)
    except UsageError as error:
        if error.exit_status is ExitStatus.TIMEOUT and timeout is not None and not client.stopped(entry):
            wanted = "complete" if what == "all" else "playable"
            raise UsageError(f"{shown(path)} is not {wanted} after {timeout:g} s", ExitStatus.TIMEOUT) from error
        raise


@contextmanager
def _drawn(entry: Entry, inside: str) -> Iterator[None]:
    """Draw on standard error how far *inside* is while the context lasts, where that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    over = threading.Event()
    drawing = threading.Thread(target=_draw, args=(entry, inside, over), daemon=True)
    drawing.start()
    try:
        yield
    finally:
        over.set()
        drawing.join(_LAST)
        print(_ERASE, end="", file=sys.stderr, flush=True)


def _draw(entry: Entry, inside: str, over: threading.Event) -> None:
    while not over.wait(_RHYTHM):
        with suppress(MountdlError):
            files = client.ask(entry, {"verb": "status", "path": inside}).get("files")
            line = progress(FileLine.of(files[0])) if isinstance(files, list) and files else ""
            if not over.is_set():
                print(f"{_ERASE}{terminal.fitting(line, sys.stderr)}", end="", file=sys.stderr, flush=True)


def progress(file: FileLine) -> str:
    """Return how far *file* is, in a line."""
    if file.size is None:
        return f"{file.state}: {shown(file.error or file.path)}"
    here = f"{text.percent(file.here, file.size):>4}  {text.size(file.here)} of {text.size(file.size)}"
    return f"{here}  {text.rate(file.rate) or file.state:>10}  {shown(file.path)}"
