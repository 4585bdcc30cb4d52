"""`mountdl status` and `why`: how the answers of a daemon look to programs and to people.

The values are those that `Control` gives. Of many files, people are shown those that something happens to;
`--json` leaves out nothing.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mountdl.control import client, mounttable, text
from mountdl.control.messages import Json
from mountdl.control.registry import Entry, Registry
from mountdl.control.text import shown
from mountdl.errors import UsageError

MOST_ROWS = 20
"""Files of a mount that are shown to people at most."""
_CLEAR = "\x1b[H\x1b[J"
_PERIOD = 1.0


class SourceLine(NamedTuple):
    """A source of a file, as its daemon told; *rate* in bytes a second."""

    name: str
    state: str
    rate: float
    bytes: int
    failures: int
    reason: str | None

    @classmethod
    def of(cls, told: Json) -> "SourceLine":
        """Return what *told* says; what is missing or odd counts as nothing."""
        return cls(
            str(told.get("name", "?")),
            str(told.get("state", "?")),
            _number(told, "rate"),
            int(_number(told, "bytes")),
            int(_number(told, "failures")),
            _optional(told, "reason"),
        )


class FileLine(NamedTuple):
    """A file of a mount, as its daemon told."""

    path: str
    size: int | None
    verified: int
    written: int
    state: str
    level: str
    rate: float
    readers: int
    error: str | None
    sources: tuple[SourceLine, ...] = ()
    paused: bool = False

    @classmethod
    def of(cls, told: Json) -> "FileLine":
        """Return what *told* says; what is missing or odd counts as nothing."""
        return cls(
            str(told.get("path", "?")),
            None if told.get("size") is None else int(_number(told, "size")),
            int(_number(told, "verified")),
            int(_number(told, "written")),
            str(told.get("state", "?")),
            str(told.get("level", "?")),
            _number(told, "rate"),
            int(_number(told, "readers")),
            _optional(told, "error"),
            tuple(SourceLine.of(each) for each in _list(told, "sources")),
            told.get("paused") is True,
        )

    @property
    def condition(self) -> str:
        """Its state, and whether it is kept from going on."""
        return f"{self.state}, paused" if self.paused and self.state != "complete" else self.state

    @property
    def here(self) -> int:
        """Bytes that need no network any more: verified ones where a chunk digest judges, else written ones."""
        return self.verified if self.level == "chunk" else self.written

    @property
    def notable(self) -> bool:
        """Say whether something happens to it, or happened and is not over."""
        return bool(
            self.readers or self.rate >= 1 or self.error or self.state in {"active", "resolving", "error"}
        ) or 0 < self.written < (self.size or 0)


def _number(told: Json, name: str) -> float:
    value = told.get(name)
    return value if isinstance(value, int | float) else 0


def _optional(told: Json, name: str) -> str | None:
    value = told.get(name)
    return None if value is None else str(value)


def _list(told: Json, name: str) -> list[Json]:
    value = told.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


# -- for people ---------------------------------------------------------------------------------------------------


def mount_lines(document: Json) -> list[str]:
    """Return a mount as lines: totals, what is doubtful, and the files that something happens to."""
    files = [FileLine.of(each) for each in _list(document, "files")]
    known = sum(file.size is not None for file in files)
    total, here = sum(file.size or 0 for file in files), sum(file.here for file in files)
    much = f", {text.size(total)}, {text.size(here)} here ({text.percent(here, total)})" if known else ""
    lines = [
        f"{shown(document.get('mountpoint'))}: {shown(document.get('source'))} (process {document.get('pid')})",
        f"  {text.counted(known, 'file')}{much}"
        + _comma(text.rate(sum(file.rate for file in files)))
        + _unknown([file.state for file in files if file.size is None]),
    ]
    cautions = _cautions(document)
    lines += [f"  warning: {_caution(each)}" for each in cautions[:MOST_ROWS]]
    if len(cautions) > MOST_ROWS:
        lines.append(f"  and {text.counted(len(cautions) - MOST_ROWS, 'warning')} more; --json shows all")
    notable = sorted(
        (file for file in files if file.notable or len(files) <= MOST_ROWS),
        key=lambda file: (not file.notable, -file.readers, -file.rate, file.path),
    )
    rows = [_row(file) for file in notable[:MOST_ROWS]]
    lines += ["  " + line for line in text.table(rows, frozenset({0, 1, 2, 3}))]
    for file in notable[:MOST_ROWS]:
        lines += [f"  {shown(file.path)}: {shown(file.error)}"] if file.error else []
    if len(notable) > MOST_ROWS:
        lines.append(f"  and {text.counted(len(notable) - MOST_ROWS, 'file')} more; --json shows all")
    return lines


def _unknown(states: Sequence[str]) -> str:
    """Return what is said of notes in *states*: they stand for files that nobody can count."""
    refused, waiting = states.count("error"), states.count("resolving")
    told = [f"{text.counted(refused, 'descriptor')} refused"] * bool(refused)
    told += [f"{text.counted(waiting, 'descriptor')} not yet resolved"] * bool(waiting)
    return f"; {', '.join(told)}" if told else ""


def _row(file: FileLine) -> list[str]:
    readers = text.counted(file.readers, "reader") if file.readers else ""
    part, whole = ("", "") if file.size is None else (text.percent(file.here, file.size), text.size(file.size))
    return [part, whole, text.rate(file.rate), readers, file.condition, shown(file.path)]


def file_lines(document: Json) -> list[str]:
    """Return the one file of *document* as lines, with its sources."""
    lines: list[str] = []
    for told in _list(document, "files"):
        file = FileLine.of(told)
        lines += [shown(file.path), f"  state: {file.condition}{_readers(file)}{_comma(text.rate(file.rate))}"]
        if file.size is None:  # a note, which stands for what is not known, or is refused
            lines += _trouble(file)
            continue
        lines += [
            f"  size: {file.size} bytes ({text.size(file.size)})",
            f"  verified: {text.size(file.verified)} ({text.percent(file.verified, file.size)})",
            f"  written: {text.size(file.written)} ({text.percent(file.written, file.size)})",
            f"  digests: {_LEVELS.get(file.level, file.level)}",
        ]
        lines += _trouble(file)
        rows = [_source_row(source) for source in file.sources]
        lines += ["  sources:" if rows else "  sources: none", *("    " + line for line in text.table(rows))]
    return lines


def _trouble(file: FileLine) -> list[str]:
    """Return the line that says what is wrong with *file*, or what it waits for to be known."""
    return [f"  {'waits' if file.state == 'resolving' else 'error'}: {shown(file.error)}"] if file.error else []


def _readers(file: FileLine) -> str:
    return _comma(text.counted(file.readers, "reader") if file.readers else "")


_LEVELS = {
    "chunk": "of every chunk: no byte is read before it is verified",
    "whole": "of the whole file only: verified when complete",
    "none": "none: nothing can verify this file",
}


def _source_row(source: SourceLine) -> list[str]:
    failures = text.counted(source.failures, "failure") if source.failures else ""
    got = text.size(source.bytes) if source.bytes else ""
    return [shown(source.name), source.state, got, text.rate(source.rate), failures, shown(source.reason or "")]


def why_lines(told: Json) -> list[str]:
    """Return what became of a file as lines: its error, its sources, and incidents, oldest first."""
    file = FileLine.of(told)
    lines = [f"{shown(file.path)}: {file.condition}", *_trouble(file)]
    rows = [_source_row(source) for source in file.sources]
    lines += ["  sources:" if rows else "  sources: none", *("    " + line for line in text.table(rows))]
    incidents = _list(told, "incidents")
    return [*lines, "  incidents:" if incidents else "  incidents: none", *(_incident(each) for each in incidents)]


def _incident(told: Json) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(_number(told, "at")))
    source, extent, times = _optional(told, "source"), told.get("extent"), int(_number(told, "times"))
    where = f" (bytes {extent[0]}-{extent[1]})" if isinstance(extent, list) and len(extent) == 2 else ""
    who = f"{shown(source)}: " if source else ""
    return f"    {at} {who}{shown(told.get('what'))}{where}{f', {times} times' if times > 1 else ''}"


def _cautions(document: Json) -> list[object]:
    value = document.get("cautions")
    return value if isinstance(value, list) else []


def _caution(told: object) -> str:
    if isinstance(told, dict):
        where = told.get("path") or told.get("file")
        return f"{shown(where)}: {shown(told.get('message'))}" if where else shown(told.get("message"))
    return shown(told)


def _comma(words: str) -> str:
    return f", {words}" if words else ""


# -- the commands -------------------------------------------------------------------------------------------------


def run(path: Path | None, registry: Registry, *, as_json: bool, watch: bool) -> None:
    """Print the status of all mounts, or of the mount or file *path*; with *watch* each second until interrupted."""
    redraw = watch and sys.stdout.isatty()
    while True:
        lines, silent = _status(path, registry, as_json=as_json)
        if lines:
            print((_CLEAR if redraw else "") + "\n".join(lines), flush=True)
        if silent:
            for each in silent[:-1]:
                print(f"mountdl: {shown(each)}", file=sys.stderr)
            raise UsageError(str(silent[-1]), silent[0].exit_status)
        if not watch:
            return
        time.sleep(_PERIOD)


def _status(path: Path | None, registry: Registry, *, as_json: bool) -> tuple[Sequence[str], list[UsageError]]:
    """Return the lines to show, and what is to be said of each mount that can't be asked."""
    asked: list[tuple[Entry, str | None]]
    dead: list[UsageError] = []
    if path is None:
        asked = [(entry, None) for entry in registry.alive()]
        orphans = mounttable.orphans([entry.mountpoint for entry, _ in asked])
        dead = [client.bereft(each) for each in orphans]
    else:
        entry, inside = client.locate(path, registry)
        asked = [(entry, inside or None)]
    documents: list[Json] = []
    silent: list[UsageError] = []
    for mount, within in asked:
        try:
            brief = within is None and not as_json
            documents.append(client.ask(mount, {"verb": "status", "path": within, "brief": brief}))
        except UsageError as error:
            silent.append(error)
    silent += dead
    if as_json:
        return [json.dumps({"mounts": documents}, indent=2)] if documents or not asked else [], silent
    if not asked:
        return [] if dead else ["nothing is mounted"], dead
    return [line for document in documents for line in _lines(document, asked[0][1])], silent


def _lines(document: Json, within: str | None) -> list[str]:
    """Return what was told of a mount, of one file in it, or of a folder."""
    if within is None:
        return mount_lines(document)
    if [told.get("path") for told in _list(document, "files")] == [within]:
        return file_lines(document)
    return mount_lines({**document, "mountpoint": f"{document.get('mountpoint')}/{within}"})


def why(path: Path, registry: Registry, *, as_json: bool) -> None:
    """Print what became of the file *path*."""
    entry, inside = client.locate_file(path, registry)
    told = client.ask(entry, {"verb": "why", "path": inside})
    print(json.dumps(told, indent=2) if as_json else "\n".join(why_lines(told)))
