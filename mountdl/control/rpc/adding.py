"""What a client adds, as a descriptor: its name and bytes. Pure.

Law: what comes out is read back by `mountdl.descriptors.parse`, names at least one file, and no name in it leads
anywhere but below the source or the mount. Rubbish is a `Fault`, before anything is written.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from mountdl.catalog.names import shown_parts
from mountdl.control.rpc.faults import Fault
from mountdl.descriptors import links, names, parse, urls
from mountdl.descriptors.model import Descriptor
from mountdl.descriptors.urilist import DEFAULT_NAME
from mountdl.errors import DescriptorError

MOST_URIS = 200
LONGEST_NAME = 200
"""Bytes of a descriptor's name without its suffix, so that there is room for that and for a number."""
_KEPT = ("checksum", "max-connection-per-server")
"""Options that a list carries; the name is another matter."""

Taken = Callable[[str], bool]
"""Whether the mount shows something at a path, or will soon."""


@dataclass(frozen=True, slots=True)
class Addition:
    """A descriptor to be written as *name* below the source; *paths* are what it is to show, in their order."""

    name: str
    data: bytes
    paths: tuple[str, ...]


def of_uris(given: Sequence[str], options: Mapping[str, str], folder: str, taken: Taken) -> Addition:
    """Return the list, or the magnet link, that *given* are. Files go below *folder* of the mount. Raises Fault.

    What *options* give no name its server may call something else.
    """
    link = next((each for each in given if each[:7].lower() == "magnet:"), None)
    if link is not None:
        return _of_magnet(link)
    followed, reason = _followed(given)
    if not followed:
        raise Fault(f"No URI to download. {reason}".strip())
    path = _path(options.get("out", ""), followed[0], folder)
    number, wanted = 1, path
    while taken(path):
        number += 1
        path = names.numbered(wanted, number)
    naming = "out" if options.get("out", "").strip() else DEFAULT_NAME
    lines = ["\t".join(followed), " parameterized-uri=false", f" {naming}={path}"]
    lines += [f" {name}={_plain(name, options[name])}" for name in _KEPT if options.get(name)]
    data = "\n".join([*lines, ""]).encode()
    name = f"{_label(path.rpartition('/')[2])}.uris"
    said = _parsed(name, data)
    if any(caution.code in {"bad-hash", "unsafe-name"} for caution in said.cautions):
        raise Fault("; ".join(caution.message for caution in said.cautions))
    return Addition(name, data, _shown(name, said))


def _followed(given: Sequence[str]) -> tuple[list[str], str]:
    """Return those of *given* that can be fetched from, and why others can't."""
    followed, reason = [], ""
    for each in given[:MOST_URIS]:
        try:
            followed.append(urls.absolute(each))
        except urls.UrlRefused as refusal:
            reason = str(refusal)
    return list(dict.fromkeys(followed)), reason


def _path(out: str, url: str, folder: str) -> str:
    """Return where in the mount the file is to be shown. Raises Fault."""
    path = out.strip() or links.name_of(url)
    path = f"{folder}/{path}" if folder else path
    fault = names.fault(path)
    if fault is not None:
        raise Fault(f"the name {path[:100]!r} {fault}")
    directory, slash, last = path.rpartition("/")
    return f"{directory}{slash}{_short(last)}"


def _plain(name: str, value: str) -> str:
    if not value.isprintable():
        raise Fault(f"{name} must be one line")
    return value.strip()


def _of_magnet(link: str) -> Addition:
    try:
        data = urls.printable(link).encode() + b"\n"
    except urls.UrlRefused as refusal:
        raise Fault(str(refusal)) from refusal
    said = _parsed(".magnet", data)
    found = [magnet.name for magnet in said.magnets] or [entry.path.name for entry in said.entries]
    name = f"{_label(found[0])}.magnet"
    return Addition(name, data, _shown(name, said))


def of_torrent(text: object) -> Addition:
    """Return the torrent that *text*, bytes or Base64, is. Raises Fault."""
    data = _decoded(text)
    said = _parsed(".torrent", data)
    if said.torrent is None:
        raise Fault("that is no torrent")
    name = f"{_label(said.entries[0].path.parts[0])}.torrent"
    return Addition(name, data, _shown(name, said))


def of_metalink(text: object) -> Addition:
    """Return the metalink that *text*, bytes or Base64, is. Raises Fault."""
    data = _decoded(text)
    said = _parsed(".meta4", data)
    if said.kind not in {"metalink3", "metalink4"}:
        raise Fault("that is no metalink")
    suffix = ".meta4" if said.kind == "metalink4" else ".metalink"
    name = f"{_label(said.entries[0].path.name)}{suffix}"
    return Addition(name, data, _shown(name, said))


def _decoded(text: object) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return base64.b64decode(str(text).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Fault("that is not Base64") from None


def _parsed(name: str, data: bytes) -> Descriptor:
    """Return what *data* says, at least one file. Raises Fault."""
    try:
        said = parse(name, data)
    except DescriptorError as error:
        raise Fault(str(error)) from error
    if not said.entries and not said.magnets:
        reasons = "; ".join(caution.message for caution in said.cautions[:5])
        raise Fault(f"no file is left of it: {reasons}" if reasons else "it names no file")
    return said


def _shown(name: str, said: Descriptor) -> tuple[str, ...]:
    """Return the paths at which the files of *said*, from the descriptor *name*, are shown where nobody has them."""
    alone = len(said.entries) == 1
    paths = [shown_parts(name, entry.path, alone=alone) for entry in said.entries]
    paths += [shown_parts(name, PurePosixPath(each.name), alone=not said.entries) for each in said.magnets]
    return tuple("/".join(parts) for parts in sorted({parts for parts in paths if parts}))


def _label(text: str) -> str:
    """Return *text* as the name of a descriptor, which identifies nothing."""
    return _short((names.component(text) or "download").lstrip(".") or "download")


def _short(name: str) -> str:
    """Return *name* with what is too many bytes of it left out, before its suffix if that is one."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    stem, _, suffix = name.rpartition(".")
    tail = f".{suffix}" if stem and len(suffix.encode()) < 32 else ""
    return (stem if tail else name).encode()[: LONGEST_NAME - len(tail.encode())].decode(errors="ignore") + tail
