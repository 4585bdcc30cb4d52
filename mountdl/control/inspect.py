"""`mountdl inspect`: what descriptors say, as mountdl reads them. Touches no network.

Law: any file and any bytes end in a document or in an error with a kind, never in a traceback.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mountdl.control.text import shown
from mountdl.descriptors import parse, parse_headers, parse_link, prefer
from mountdl.descriptors.limits import MAX_DOCUMENT
from mountdl.descriptors.model import Descriptor
from mountdl.descriptors.report import describe, describe_text
from mountdl.errors import DescriptorError, ExitStatus, MountdlError, UsageError
from mountdl.settings import PreferenceSettings

Json = dict[str, object]

LINK = "#!metalink3!"
"""What marks an argument that is no file but a link: URL#!metalink3!URL."""


@dataclass(frozen=True, slots=True)
class Head:
    """The file *path* holds the raw head of an HTTP answer to a request for *url*."""

    path: str
    url: str


def run(named: Sequence[str | Head], preferences: PreferenceSettings, *, as_json: bool) -> ExitStatus:
    """Print what the descriptors in *named* say; return the status of the first that can't be used."""
    status = ExitStatus.OK
    documents: list[Json] = []
    for number, each in enumerate(named):
        path = each.path if isinstance(each, Head) else each
        try:
            descriptor = load(each, preferences)
        except MountdlError as error:
            status = status or error.exit_status
            documents.append({"path": path, "error": {"kind": _kind(error), "message": str(error)}})
            if not as_json:
                sys.stdout.flush()
                print(f"mountdl: {shown(path)}: {shown(error)} [{_kind(error)}]", file=sys.stderr)
        else:
            documents.append({"path": path, **describe(descriptor)})
            if not as_json:
                print("\n" * (number > 0) + "\n".join([f"path: {shown(path)}", *describe_text(descriptor)]))
    if as_json:
        print(json.dumps({"documents": documents}, indent=2))
    return status


def load(named: str | Head, preferences: PreferenceSettings) -> Descriptor:
    """Return the descriptor that *named* is. Raises DescriptorError, or UsageError when it can't be read."""
    if isinstance(named, Head):
        return parse_headers(_read(named.path), named.url)
    if LINK in named:
        return parse_link(named)
    return prefer(parse(Path(named).name, _read(named), base_url=preferences.base_uri), preferences)


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_DOCUMENT + 1)
    except FileNotFoundError as error:
        raise UsageError("there is no such file", ExitStatus.NOT_FOUND) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"it can't be read: {reason}", ExitStatus.IO) from error


def _kind(error: MountdlError) -> str:
    if isinstance(error, DescriptorError):
        return error.kind
    return "not-found" if error.exit_status is ExitStatus.NOT_FOUND else "unreadable"
