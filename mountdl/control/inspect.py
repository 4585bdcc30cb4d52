"""`mountdl inspect`: what descriptors say, as mountdl reads them. Touches no network.

Law: any file and any bytes end in a document or in an error with a kind, never in a traceback.
"""

import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mountdl.control.text import shown
from mountdl.descriptors import parse, parse_headers, parse_link, prefer
from mountdl.descriptors.limits import MAX_DOCUMENT
from mountdl.descriptors.model import Descriptor
from mountdl.descriptors.report import parts, text_lines
from mountdl.errors import DescriptorError, ExitStatus, MountdlError, UsageError
from mountdl.settings import PreferenceSettings, is_remote

LINK = "#!metalink3!"
"""What marks an argument that is no file but a link: URL#!metalink3!URL."""
_MAGNET = "magnet:"


@dataclass(frozen=True, slots=True)
class Head:
    """The file *path* holds the raw head of an HTTP answer to a request for *url*."""

    path: str
    url: str


def run(named: Sequence[str | Head], preferences: PreferenceSettings, *, as_json: bool) -> ExitStatus:
    """Print what the descriptors in *named* say; return the status of the first that can't be used."""
    status = ExitStatus.OK
    show, show_error = (_json, _json_error) if as_json else (_text, _text_error)
    if as_json:
        sys.stdout.write('{"documents": [')
    for number, each in enumerate(named):
        path = each.path if isinstance(each, Head) else each
        try:
            descriptor = load(each, preferences)
        except MountdlError as error:
            status = status or error.exit_status
            show_error(number, path, error)
        else:
            show(number, path, descriptor)
    if as_json:
        sys.stdout.write("\n]}\n")
    return status


def _text(number: int, path: str, descriptor: Descriptor) -> None:
    sys.stdout.write("\n" * (number > 0) + f"path: {shown(path)}\n")
    sys.stdout.writelines(f"{line}\n" for line in text_lines(descriptor))


def _text_error(number: int, path: str, error: MountdlError) -> None:
    del number
    sys.stdout.flush()
    print(f"mountdl: {shown(path)}: {shown(error)} [{_kind(error)}]", file=sys.stderr)


def _json(number: int, path: str, descriptor: Descriptor) -> None:
    """Write a document as it comes, a line for each part of a list: 100,000 files are 60 MB as one text."""
    sys.stdout.write(f"{',' * (number > 0)}\n{{{_member('path', path)}")
    for name, value in parts(descriptor):
        if not isinstance(value, Iterator):
            sys.stdout.write(f",\n {_member(name, value)}")
            continue
        sys.stdout.write(f",\n {json.dumps(name)}: [")
        for place, part in enumerate(value):
            sys.stdout.write(f"{',' * (place > 0)}\n  {json.dumps(part)}")
        sys.stdout.write("]")
    sys.stdout.write("}")


def _json_error(number: int, path: str, error: MountdlError) -> None:
    found = {"kind": _kind(error), "message": str(error)}
    sys.stdout.write(f"{',' * (number > 0)}\n{{{_member('path', path)},\n {_member('error', found)}}}")


def _member(name: str, value: object) -> str:
    return f"{json.dumps(name)}: {json.dumps(value)}"


def load(named: str | Head, preferences: PreferenceSettings) -> Descriptor:
    """Return the descriptor that *named* is. Raises DescriptorError, or UsageError when it can't be read."""
    if isinstance(named, Head):
        return parse_headers(document(named.path), named.url)
    if LINK in named:
        return parse_link(named)
    if named.lower().startswith(_MAGNET):
        return prefer(parse(".magnet", os.fsencode(named)), preferences)
    return prefer(parse(Path(named).name, document(named), base_url=preferences.base_uri), preferences)


def document(path: str) -> bytes:
    """Return what is in a file that somebody named, or a little more than any document may have of it.

    Raises UsageError, which does not name the file.
    """
    try:
        # Not blocking: opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError("it is a folder, pipe or device; only regular files are read", ExitStatus.IO)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(MAX_DOCUMENT + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        hint = "; inspect touches no network: save what is there, then inspect that" if is_remote(path) else ""
        raise UsageError(f"there is no such file{hint}", ExitStatus.NOT_FOUND) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"it can't be read: {reason}", ExitStatus.IO) from error


def _kind(error: MountdlError) -> str:
    if isinstance(error, DescriptorError):
        return error.kind
    return "not-found" if error.exit_status is ExitStatus.NOT_FOUND else "unreadable"
