"""From the text of an option to its value. Pure.

Law: each reader takes the text as a user wrote it, whatever the place (command line, environment, file),
and returns a value or raises ValueError whose text says what is allowed, to follow "allowed is".
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from mountdl.settings import Limit

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_NUMBER_WITH_UNIT = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([kmgt]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
# RFC 9110 section 5.6.2: token; section 5.5: no control characters in a field value.
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")

SIZE = "a number with K, M, G or T after it (16K is 16384)"


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from *least* to *most*."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return read


def seconds(least: float, most: float = 86400.0) -> Callable[[str], float]:
    """Return a reader of seconds from *least* to *most*."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ValueError(f"a number of seconds from {least:g} to {most:g}")
        return value

    return read


def pause(text: str) -> float:
    """Read seconds between two tries. As in aria2 it may be 0, which is taken for 0.1: who is down needs some time."""
    return max(0.1, seconds(0, 600)(text))


def size(text: str) -> int:
    """Read a number of bytes with an optional unit: 1024s, aria2's and everybody's."""
    match = _NUMBER_WITH_UNIT.fullmatch(text.strip())
    if match is None:
        raise ValueError(SIZE)
    return (
        int(float(match[1]) * _UNITS[match[2].lower()]) if "." in match[1] else int(match[1]) * _UNITS[match[2].lower()]
    )


def limit(text: str) -> "Limit | None":
    """Read a quota: bytes, or a part of the disk ("10%"); 0 is none."""
    from mountdl.settings import Limit

    wanted = text.strip()
    match = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)\s*%", wanted, re.ASCII)
    if match is not None and 0 < float(match[1]) <= 100:
        return Limit(percent=float(match[1]))
    try:
        amount = size(wanted)
    except ValueError:
        raise ValueError(f"{SIZE}, or a part of the disk (10%)") from None
    return Limit(amount) if amount else None


def rate(text: str) -> float:
    """Read a rate in bytes a second."""
    return float(size(text))


def ratio(text: str) -> float:
    """Read a number from 0 on, with or without a fraction."""
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text.strip(), re.ASCII):
        raise ValueError("a number from 0 on, like 1.5")
    return float(text)


def minutes(text: str) -> float:
    """Read a number of minutes and return seconds."""
    return 60.0 * ratio(text)


def ports(text: str) -> tuple[int, int]:
    """Read a port, or the first and the last of several with "-" between them."""
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text.strip(), re.ASCII)
    first, last = (0, 0) if match is None else (int(match[1]), int(match[2] or match[1]))
    if not 1024 <= first <= last <= 65535:
        raise ValueError("a port from 1024 to 65535, or two with - between them")
    return first, last


def truth(text: str) -> bool:
    """Read "true" or "false" and their kin."""
    try:
        return _TRUTHS[text.strip().lower()]
    except KeyError:
        raise ValueError('"true" or "false"') from None


def falsehood(text: str) -> bool:
    """Read what `truth` reads, and return the opposite: for an option that switches something off."""
    return not truth(text)


def proxy(text: str) -> str:
    """Read the address of a proxy; nothing is none."""
    from mountdl.sources import proxies

    if text.strip():
        proxies.parse(text.strip())
    return text.strip()


class OneOf:
    """A reader of one of *words*."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self, text: str) -> str:
        """Return *text* if it is one of them."""
        if text not in self.words:
            raise ValueError(" or ".join((", ".join(self.words[:-1]), self.words[-1])))
        return text


def words(text: str) -> tuple[str, ...]:
    """Read words between commas."""
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    if not found or not all(word.isprintable() for word in found):
        raise ValueError("one or more words with commas between them")
    return found


def countries(text: str) -> tuple[str, ...]:
    """Read two-letter countries (ISO 3166-1) between commas."""
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    if not found or not all(re.fullmatch(r"[A-Za-z]{2}", word, re.ASCII) for word in found):
        raise ValueError("one or more countries as two letters with commas between them (de,at)")
    return found


def line(text: str) -> str:
    """Read anything that is one line and not empty."""
    if not text.strip() or not text.isprintable():
        raise ValueError("text on one line, not empty")
    return text


def path(text: str) -> Path:
    """Read a path; "~" is the home directory, and it becomes absolute."""
    if not text or "\0" in text:
        raise ValueError("a path, not empty")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        return _refuse("a path whose ~user exists")


def url(text: str) -> str:
    """Read an http or https URL."""
    if not re.fullmatch(r"https?://[!-~]+", text, re.IGNORECASE):
        raise ValueError("a URL that begins with http:// or https://")
    return text


def header(text: str) -> tuple[str, str]:
    """Read "Name: value", one HTTP header."""
    match = _HEADER.fullmatch(text)
    if match is None:
        raise ValueError('a header like "Name: value", on one line')
    return match[1], match[2]


def _refuse(allowed: str) -> NoReturn:
    raise ValueError(allowed)
