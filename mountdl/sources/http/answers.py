"""What an answer to a range request means.

Law: pure. `judge` sees a head, what was asked and what is known of the content, and says which bytes
of the body may be stored where, or why none may. Nothing is taken on trust that can be checked before
a byte is stored: RFC 9110 sections 14.2 to 15.5.17 say what a server should do, the tests what they do.
Knows no socket, no clock (the time is an argument) and no mirror.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from mountdl.extents import Extent
from mountdl.sources.proxies import password_wanted

LONGEST_SKIP = 1 << 20
"""Bytes before the asked offset that are worth reading over: at 10 MB/s a tenth of a second."""

LONGEST_WAIT = 600.0
"""Seconds: no server parks us for longer than this, whatever it says."""

_FAULT = "a fault of its server, so name another mirror"
_CONTENT_RANGE = re.compile(r"bytes[ \t]+(?:([0-9]{1,19})-([0-9]{1,19})|\*)/([0-9]{1,19}|\*)", re.ASCII | re.IGNORECASE)
_COMPRESSED_NAMES = (".gz", ".tgz", ".svgz", ".z", ".taz")
_PAGE_NAMES = (".html", ".htm", ".xhtml", ".shtml")


@dataclass(frozen=True, slots=True)
class Validator:
    """What names one state of a URL: its ETag as sent, else its Last-Modified; both may be missing."""

    etag: str | None = None
    modified: str | None = None

    @property
    def if_range(self) -> str | None:
        """What may stand in If-Range: a strong ETag only (RFC 9110 section 13.1.5)."""
        return self.etag if self.etag is not None and self.etag.startswith('"') else None

    def contradicts(self, other: "Validator") -> bool:
        """Say whether both name a state and not the same one. ETags decide where both have one."""
        if self.etag is not None and other.etag is not None:
            return self.etag.removeprefix("W/") != other.etag.removeprefix("W/")
        return self.modified is not None and other.modified is not None and self.modified != other.modified


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked: *extent* of a content of *size* bytes, from a URL whose path is *path*.

    *validator* is what earlier answers of this URL carried; *proof* says that a digest will judge the bytes.
    """

    extent: Extent
    size: int
    path: str = ""
    validator: Validator = Validator()
    proof: bool = False


@dataclass(frozen=True, slots=True)
class Take:
    """Drop *skip* bytes of the body, then *extent* follows; what comes after it is not wanted.

    *sequential*: the server ignored the range; it can only send from offset 0 on.
    """

    extent: Extent
    skip: int = 0
    sequential: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing now; later perhaps, after *retry_after* seconds where the server says so.

    *crowded*: it says that it has too much to do, so fewer connections may help; *everywhere*: it means us
    whatever we ask for (429), not this path alone (503 may be the answer of one application behind it).
    """

    reason: str
    retry_after: float | None = None
    crowded: bool = False
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """It will not deliver."""

    reason: str


@dataclass(frozen=True, slots=True)
class Garbled:
    """It does not answer what was asked, which tells nothing of the file. *again*: one more try may tell."""

    reason: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Mismatch:
    """It has another file now than the one described."""

    reason: str


@dataclass(frozen=True, slots=True)
class SequentialOnly:
    """It sends the whole content from offset 0, and what was asked lies too far in."""

    reason: str = "serves no ranges"


Verdict = Take | Wait | Refuse | Garbled | Mismatch | SequentialOnly


def judge(status: int, headers: Mapping[str, str], asked: Asked, now: float) -> Verdict:
    """Say what an answer means. *headers* have lower-case names, *now* is Unix time in seconds."""
    if status == 206:
        return _partial(headers, asked)
    if status == 200:
        return _whole(headers, asked)
    if status == 416:
        return _unsatisfiable(headers, asked)
    return failure(status, headers, now)


def validator_of(headers: Mapping[str, str]) -> Validator:
    """Return what names the state of the URL that answered."""
    return Validator(headers.get("etag") or None, headers.get("last-modified") or None)


def content_range(text: str | None) -> tuple[Extent | None, int | None] | None:
    """Read a Content-Range: the extent (None for an unsatisfied one) and the total (None for `*`).

    None when the header is missing or can't be believed (RFC 9110 section 14.4).
    """
    found = _CONTENT_RANGE.fullmatch((text or "").strip())
    if found is None:
        return None
    first, last, total = found.groups()
    size = None if total == "*" else int(total)
    if first is None:
        return None, size
    if int(last) < int(first) or (size is not None and int(last) >= size):
        return None
    return Extent(int(first), int(last) + 1), size


def retry_after(text: str | None, now: float, date: str | None = None) -> float | None:
    """Read a Retry-After (RFC 9110 section 10.2.3) as seconds from *now*, a time in seconds since 1970.

    One that is a time of day is by the server's clock, of which *date* tells, the answer's Date; ours may be wrong.
    """
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), LONGEST_WAIT)
    until, sent = moment(text), moment(date)
    if until is None:
        return None
    return min(max(until - (now if sent is None else sent), 0.0), LONGEST_WAIT)


def moment(text: str | None) -> float | None:
    """Return a date of a header field (RFC 9110 section 5.6.7) in seconds since 1970; None where it is none."""
    try:
        return parsedate_to_datetime(text or "").timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def queue_poll(text: str | None) -> float | None:
    """Read the seconds after which to ask again from a Gnutella server's X-Queue ("position=2,pollMin=45,...")."""
    found = re.search(r"pollMin=(\d{1,6})", text or "", re.ASCII | re.IGNORECASE)
    return None if found is None else min(float(found[1]), LONGEST_WAIT)


def _partial(headers: Mapping[str, str], asked: Asked) -> Verdict:
    if headers.get("content-type", "").lower().startswith("multipart/"):
        return Garbled(f"answered one range with several parts (multipart/byteranges): {_FAULT}")
    told = content_range(headers.get("content-range"))
    sent = told[0] if told is not None else None
    if told is None or sent is None:
        return Garbled("a partial answer does not say which part it is", again="content-range" not in headers)
    problem = _contradiction(headers, asked, told[1])
    if problem is not None:
        return problem
    if sent.stop > asked.size:
        return Mismatch(f"sends bytes beyond the {asked.size} there should be")
    return _wanted_part(sent.start, _cut(sent, length_of(headers)), asked)


def _cut(sent: Extent, length: int | None) -> int:
    # A Content-Length that differs from the Content-Range is a lie of one of them: trust the shorter.
    return sent.stop if length is None else min(sent.stop, sent.start + length)


def _wanted_part(start: int, stop: int, asked: Asked) -> Verdict:
    want = asked.extent
    if start > want.start or stop <= want.start:
        return Garbled(f"sent bytes from {start} on, asked for {want.start}")
    if want.start - start > LONGEST_SKIP:
        return Garbled(f"sent bytes from {start} on, far from {want.start}")
    return Take(Extent(want.start, min(stop, want.stop)), skip=want.start - start)


def _whole(headers: Mapping[str, str], asked: Asked) -> Verdict:
    length = length_of(headers)
    if asked.validator.contradicts(validator_of(headers)):
        return Mismatch("the file changed at the mirror")
    if length != asked.size and _is_page(headers, asked):
        return Garbled("sent a web page in place of the file; open it in a browser to see what it wants")
    problem = _contradiction(headers, asked, length)
    if problem is not None:
        return problem
    want = asked.extent
    if want.start > LONGEST_SKIP:
        return SequentialOnly()
    return Take(want, skip=want.start, sequential=want != Extent(0, asked.size))


def _is_page(headers: Mapping[str, str], asked: Asked) -> bool:
    kind = headers.get("content-type", "").lower()
    return kind.startswith(("text/html", "application/xhtml")) and not asked.path.lower().endswith(_PAGE_NAMES)


def _contradiction(headers: Mapping[str, str], asked: Asked, total: int | None) -> Garbled | Mismatch | None:
    """Return what in an answer shows that it is not of the content described, or None."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"} and not _mislabelled(encoding, asked, total):
        return Garbled(f"sent the file packed (Content-Encoding: {encoding[:20]!r}), asked for as it is: {_FAULT}")
    if total is not None and total != asked.size:
        return Mismatch(f"has {total} bytes, not {asked.size}")
    if asked.validator.contradicts(validator_of(headers)):
        return Mismatch("the file changed at the mirror")
    return None


def _mislabelled(encoding: str, asked: Asked, total: int | None) -> bool:
    # Many servers label a.tar.gz itself "Content-Encoding: gzip". Its size is then the file's own; where a
    # digest will judge the bytes that is worth believing, elsewhere not.
    known = encoding in {"gzip", "x-gzip"} and asked.path.lower().endswith(_COMPRESSED_NAMES)
    return known and asked.proof and total == asked.size


def _unsatisfiable(headers: Mapping[str, str], asked: Asked) -> Verdict:
    told = content_range(headers.get("content-range"))
    total = told[1] if told is not None else None
    if total is not None and total != asked.size:
        return Mismatch(f"has {total} bytes, not {asked.size}")
    return Mismatch(f"does not have bytes from {asked.extent.start} on")


def failure(status: int, headers: Mapping[str, str], now: float) -> Wait | Refuse | Garbled:
    """Say what a status means that brings no bytes of the content, whatever was asked."""
    reason = f"answered {status}"
    if status in {429, 503}:
        wait = retry_after(headers.get("retry-after"), now, headers.get("date"))
        wait = queue_poll(headers.get("x-queue")) if wait is None else wait
        return Wait(reason, wait, crowded=True, everywhere=status == 429)
    if status == 407:
        return Refuse(password_wanted(headers.get("proxy-authenticate", ""), status, said=False))
    if status == 401:
        return Refuse("answered 401: it wants a user name and a password that it knows")
    # 403 comes and goes with expiring links and with too many requests; 408 and 425 say "again" themselves.
    if status in {403, 408, 425} or status >= 500:
        return Wait(reason)
    if status < 300:
        return Garbled(reason)
    return Refuse(reason)


def length_of(headers: Mapping[str, str]) -> int | None:
    """Return the length in bytes that an answer gives its body; None where it gives none, or not to be believed."""
    text = headers.get("content-length", "").strip()
    if "transfer-encoding" in headers or not (text.isascii() and text.isdigit()) or len(text) > 19:
        return None
    return int(text)
