"""`mountdl inspect`: what descriptors say, as mountdl reads them. Touches no network.

Law: any file and any bytes end in a document or in an error with a kind, never in a traceback.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mountdl.control.text import shown
from mountdl.descriptors import parse, prefer
from mountdl.descriptors.limits import MAX_DOCUMENT
from mountdl.descriptors.model import Descriptor
from mountdl.descriptors.report import describe, describe_text
from mountdl.errors import DescriptorError, ExitStatus, MountdlError, UsageError
from mountdl.settings import PreferenceSettings

Json = dict[str, object]

_MAGNET_KINDS = frozenset({"not-a-magnet", "no-usable-topic", "bad-urn", "no-sources"})
_TORRENT_KINDS = frozenset(
    {
        "bad-torrent",
        "bad-bencode",
        "missing-info",
        "missing-name",
        "missing-pieces",
        "pieces-mismatch",
        "bad-piece-length",
        "bad-piece-layers",
    }
)


def run(paths: Sequence[str], preferences: PreferenceSettings, *, as_json: bool) -> ExitStatus:
    """Print what the descriptors at *paths* say; return the status of the first that can't be used."""
    status = ExitStatus.OK
    documents: list[Json] = []
    for number, path in enumerate(paths):
        try:
            descriptor = load(path, preferences)
        except MountdlError as error:
            status = status or exit_status(error)
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


def load(path: str, preferences: PreferenceSettings) -> Descriptor:
    """Return the descriptor in the file *path*. Raises DescriptorError, or UsageError when it can't be read."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
    except FileNotFoundError as error:
        raise UsageError("there is no such file", ExitStatus.NOT_FOUND) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"it can't be read: {reason}", ExitStatus.IO) from error
    return prefer(parse(Path(path).name, data, base_url=preferences.base_uri), preferences)


def exit_status(error: MountdlError) -> ExitStatus:
    """Return the exit status for *error*: that of the form whose kind of error it is."""
    if isinstance(error, DescriptorError):
        if error.kind in _MAGNET_KINDS:
            return ExitStatus.BAD_MAGNET
        if error.kind in _TORRENT_KINDS:
            return ExitStatus.BAD_TORRENT
    return error.exit_status


def _kind(error: MountdlError) -> str:
    if isinstance(error, DescriptorError):
        return error.kind
    return "not-found" if error.exit_status is ExitStatus.NOT_FOUND else "unreadable"
