"""Which names a descriptor may give a file. Pure.

Law: a name is taken as it stands or not at all. It is never decoded, cleaned or rewritten into another
one, because two readers that clean in different order see different names.
"""

import re

MAX_COMPONENT = 255
"""Bytes of UTF-8 in one part of a path (Linux NAME_MAX)."""

MAX_PATH = 4095
"""Bytes of UTF-8 in a whole path (Linux PATH_MAX without the final NUL)."""

MAX_PARTS = 64

LONGEST_SUFFIX = 32
"""Bytes of what is kept behind the last dot of a name that is too long."""

_ORDINARY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~,=@ -]{0,200}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Characters that show nothing or turn the direction of text: they make one name look like another.
_INVISIBLE = re.compile("[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")


def fault(name: str) -> str | None:
    """Return what makes *name* no safe relative path, as the end of a sentence; None for a safe one."""
    if _ORDINARY.fullmatch(name):
        return None
    if not name:
        return "is empty"
    if _CONTROL.search(name):
        return "has a control character"
    if "\\" in name:
        return "has a backslash"
    parts = name.split("/")
    if ".." in parts:
        return "leads upwards"
    if "" in parts or "." in parts:
        return "is absolute or has an empty part"
    return _length_fault(name, parts)


# libmetalink's rule, which curl's tests hold to as well.
_ODD = re.compile(r"[ .~/]|.*(?:[ /]\Z|[\\<>|])", re.DOTALL)


def strict_fault(name: str) -> str | None:
    """Return what other programs dislike about *name*, which is safe, as the end of a sentence; None for nothing."""
    if _ODD.match(name):
        return "begins with a blank, dot or tilde, ends with a blank, or has one of <>|"
    return None


def _length_fault(name: str, parts: list[str]) -> str | None:
    try:
        longest = max(len(part.encode()) for part in parts)
        total = len(name.encode())
    except UnicodeEncodeError:
        return "is not text"
    if longest > MAX_COMPONENT or total > MAX_PATH or len(parts) > MAX_PARTS:
        return "is too long or too deep"
    return None


def directories(path: str) -> list[str]:
    """Return the directories that *path* is in, the outermost first."""
    return [path[: match.start()] for match in _SLASH.finditer(path)]


_SLASH = re.compile("/")


def safe_component(name: str) -> bool:
    """Say whether *name* is safe as the name of one file in its directory."""
    return "/" not in name and fault(name) is None


def invisible(name: str) -> bool:
    """Say whether *name* has characters that nobody sees."""
    return not name.isascii() and _INVISIBLE.search(name) is not None


def component(text: str) -> str | None:
    """Return *text* made safe as the name of one file; None when nothing is left of it.

    What is too long is cut before its suffix. For labels, which identify nothing: the names of files in a metalink are
    never rewritten.
    """
    text = _cut(_UNSAFE.sub("_", text).encode(errors="replace").decode()).strip()
    return None if text in {"", ".", ".."} else text


def _cut(name: str) -> str:
    """Return *name* with what is too many bytes of it left out, before its suffix if that is one."""
    if len(name.encode()) <= MAX_COMPONENT:
        return name
    stem, _, suffix = name.rpartition(".")
    tail = f".{suffix}" if stem and len(suffix.encode()) < LONGEST_SUFFIX else ""
    return (stem if tail else name).encode()[: MAX_COMPONENT - len(tail.encode())].decode(errors="ignore") + tail


def numbered(name: str, number: int) -> str:
    """Return the path *name* with *number* before its suffix: "a/b (2).iso"."""
    directory, slash, last = name.rpartition("/")
    stem, dot, suffix = last.rpartition(".") if "." in last[1:] else (last, "", "")
    room = MAX_COMPONENT - len(f" ({number}){dot}{suffix}".encode())
    if room < 1:
        stem, dot, suffix, room = last, "", "", MAX_COMPONENT - 24
    stem = stem.encode()[:room].decode(errors="ignore")
    return f"{directory}{slash}{stem} ({number}){dot}{suffix}"


_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")
