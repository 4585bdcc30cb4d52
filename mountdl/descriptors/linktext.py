"""Find magnet links in a text file and take one apart into its parameters. Pure.

The order matters: HTML references between parameters are undone before splitting, percent signs after it,
so that no part of a value can become a separator.
"""

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from mountdl.descriptors.cautions import Cautions
from mountdl.descriptors.limits import MAX_ESCAPED, MAX_LIST, MAX_PARAMETERS, MAX_URL
from mountdl.errors import DescriptorError

_START = re.compile(r"""(?:(?<=[\s"'\]#>])|^)(?:stream-)?magnet:""", re.IGNORECASE)
_COMMENT = ("#", ";", "//")
_BARE = re.compile(r"[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}", re.ASCII)
_QUOTES = "\"'"

# MirrorBrain and MirrorCache serve "&amp;" as plain text; repeated, where it was escaped twice.
_ESCAPED_AND = re.compile(r"&(?:amp;|#0*38;|#x0*26;)+", re.IGNORECASE)
# Other references stay in the value that they are in ("It&#039;s").
_SEPARATOR = re.compile(r"&(?!#\d{1,7};|#x[0-9a-f]{1,6};)", re.IGNORECASE)
_HEAD = re.compile(r"(?:stream-)?magnet:/{0,3}\?", re.IGNORECASE)
_NUMBERED = re.compile(r"([^.]+)\.(\d{1,6})", re.ASCII)
_ADDRESSES = frozenset({"tr", "ws", "as", "xs"})
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a link. *group* is N of "key.N"; *broken* says that a percent sign means nothing."""

    key: str
    value: str
    group: int | None = None
    broken: bool = False


def decoded(data: bytes) -> str:
    """Return a text file's text. Raises DescriptorError empty, too-large or bad-encoding."""
    if len(data) > MAX_LIST:
        raise DescriptorError("too-large", f"the file has more than {MAX_LIST} bytes")
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text = data.decode("utf-16")
        else:
            text = _text(data.removeprefix(codecs.BOM_UTF8))
    except UnicodeError:
        raise DescriptorError("bad-encoding", "the text is not UTF-16") from None
    if "\0" in text:
        raise DescriptorError("bad-encoding", "the text has a NUL character")
    if not text.strip():
        raise DescriptorError("empty", "the file is empty")
    return text


def _escaped(problem: UnicodeError) -> tuple[str, int]:
    """Put percent escapes for bytes that are no UTF-8, so that an address in another encoding stays the one it is."""
    if not isinstance(problem, UnicodeDecodeError):
        raise problem
    return "".join(f"%{byte:02X}" for byte in problem.object[problem.start : problem.end]), problem.end


_ESCAPED = "mountdl-escaped"
codecs.register_error(_ESCAPED, _escaped)


def _text(data: bytes) -> str:
    text = data.decode(errors="replace")
    return data.decode(errors=_ESCAPED) if 0 < text.count("\ufffd") <= MAX_ESCAPED else text


def _unquoted(key: str, value: str) -> str:
    """Return *value* without its percent escapes; an address keeps those that are no UTF-8."""
    text = unquote(value)
    if "\ufffd" in text and key in _ADDRESSES and len(value) <= 3 * MAX_URL:
        return unquote(value, errors=_ESCAPED)
    return text


def lines(text: str) -> Iterator[str]:
    """Yield the lines of *text* one by one, without building them all: millions of short ones take 50 bytes each."""
    return (line.rstrip("\n") for line in io.StringIO(text, newline=None))


def links(text: str) -> Iterator[str]:
    """Yield the magnet links in *text*: several to a line, one over several lines, between comments.

    A line that holds nothing but an info-hash in hexadecimal, outside of a link, is one to it.
    """
    open_link: list[str] = []
    for line in map(str.strip, lines(text)):
        starts = [match.start() for match in _START.finditer(line)] if "agnet:" in line.lower() else []
        if not starts and line.startswith(_COMMENT):
            continue
        if starts or not line:
            if open_link:
                yield "".join(open_link)
            open_link = []
        if not starts:
            if open_link:
                open_link.append(line)
            elif _BARE.fullmatch(line):
                yield _of_hash(line)
            continue
        pieces = [_piece(line, start, stop) for start, stop in zip(starts, [*starts[1:], len(line)], strict=True)]
        yield from pieces[:-1]
        open_link = [pieces[-1]]
    if open_link:
        yield "".join(open_link)


def _of_hash(line: str) -> str:
    return f"magnet:?xt=urn:btih:{line}" if len(line) == 40 else f"magnet:?xt=urn:btmh:1220{line}"


def _piece(line: str, start: int, stop: int) -> str:
    piece = line[start:stop]
    quote = line[start - 1] if start and line[start - 1] in _QUOTES else ""
    if quote:
        return piece.partition(quote)[0]
    # What opened the next link (a blank, a bracket's end, a quote) is no part of this one.
    return piece if stop == len(line) else piece.rstrip(" \t\"'#>")


def parameters(link: str, cautions: Cautions) -> list[Parameter] | None:
    """Return the parameters of *link* in order; None if it is no magnet link."""
    match = _HEAD.match(link.strip())
    if match is None:
        return None
    body = _ESCAPED_AND.sub("&", link.strip()[match.end() :])
    found = []
    pairs = _SEPARATOR.split(body, maxsplit=MAX_PARAMETERS)
    if len(pairs) > MAX_PARAMETERS:
        cautions.add("too-many-parameters", f"parameters of a link beyond {MAX_PARAMETERS} are left out")
    for pair in pairs[:MAX_PARAMETERS]:
        key, equals, value = pair.partition("=")
        key = unquote(key).strip().lower()
        if not equals or not key:
            continue
        group = None
        numbered = _NUMBERED.fullmatch(key)
        if numbered is not None:
            key, group = numbered[1], int(numbered[2])
        broken = _BAD_ESCAPE.search(value) is not None
        if key in {"dn", "kt"}:
            value = value.replace("+", " ")
        found.append(Parameter(key, _unquoted(key, value), group, broken))
    return found
