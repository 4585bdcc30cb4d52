"""Which name an entry gets in the mount.

Law: whatever goes in, each name that comes out is one that Linux takes: not empty, not "." or "..",
without "/", NUL and lone surrogates, at most `NAME_MAX` bytes. Pure text; knows no tree.
"""

import re
from pathlib import PurePosixPath

from mountdl.catalog.tree import NAME_MAX

PATH_MAX = 4095
"""Bytes of the longest entry path shown: Linux's limit for one path argument without its final NUL."""

# A file type at the end of a descriptor's stem ("b.iso", "x.7z", "clip.3gp") as against the last part of a
# version ("ubuntu-22.04", "tool-1.0rc1"), which does not start with a letter.
_FILE_TYPE = re.compile(r"[^.]\.(?:[A-Za-z][A-Za-z0-9]{0,7}|[0-9][A-Za-z]{1,2})\Z")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


def clean(name: str) -> str:
    r"""Return *name* as it is shown: bytes that are not UTF-8 as `\xNN`, shortened where it is too long."""
    if name.isascii() and len(name) <= NAME_MAX:
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        name = _ESCAPED_BYTE.sub(lambda found: f"\\x{ord(found.group()) - 0xDC00:02x}", name)
        name = name.encode("utf-8", "backslashreplace").decode()
    return fit(*split(name))


def split(name: str) -> tuple[str, str]:
    """Return *name* as stem and extension with its dot; the extension is empty when there is none."""
    dot = name.rfind(".")
    return (name[:dot], name[dot:]) if 0 < dot < len(name) - 1 else (name, "")


def fit(stem: str, tail: str) -> str:
    """Return stem + tail, with the end of the stem cut off (then of the tail) where both are too long."""
    name = stem + tail
    if len(name.encode()) <= NAME_MAX:
        return name
    room = NAME_MAX - len(tail.encode())
    if room < NAME_MAX // 2:
        stem, tail, room = name, "", NAME_MAX
    return stem.encode()[:room].decode("utf-8", "ignore") + tail


def numbered(name: str, number: int, *, folder: bool) -> str:
    """Return `NAME (number).EXT`; a folder's name has no extension."""
    stem, extension = (name, "") if folder else split(name)
    return fit(stem, f" ({number}){extension}")


def stem_of(descriptor: str) -> str:
    """Return a descriptor's file name without its suffix: "b.iso" for "b.iso.meta4"."""
    return split(descriptor)[0]


def shown_parts(descriptor: str, path: PurePosixPath, *, alone: bool) -> tuple[str, ...]:
    """Return the path, below the descriptor's folder, at which an entry is shown; empty if it can't be.

    An entry is shown at its own *path*, with one exception. The only entry of a descriptor (*alone*),
    when its path has one component, takes the name of the descriptor without the descriptor's suffix
    if that names a file type: if it ends like the entry's own name, or in what looks like a file type.
    So `b.iso.meta4` shows `b.iso` whatever it calls it, `fedora.metalink` and `ubuntu-22.04.metalink`
    show the `….iso` they name.
    """
    parts = path.parts
    if alone and len(parts) == 1:
        stem = stem_of(descriptor)
        extension = split(parts[0])[1]
        same_type = bool(extension) and split(stem)[1].casefold() == extension.casefold()
        if same_type or _FILE_TYPE.search(stem):
            parts = (stem,)
    if not parts or any(part in {".", ".."} or "/" in part or "\0" in part for part in parts):
        return ()
    shown = tuple(map(clean, parts))
    return shown if sum(len(part.encode()) + 1 for part in shown) <= PATH_MAX + 1 else ()
