"""Addresses that stand for several: "http://{a,b}/f[1-3].bin". Pure.

Sets ("{a,b}") give mirrors of one file. Sequences ("[1-3]", "[08-12:2]", "[a-c]") give another file each
where they stand in its name, else mirrors too. aria2 takes all as one file unless told otherwise
(--force-sequential), which can't be right for names that differ.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mountdl.descriptors.limits import MAX_EXPANDED, MAX_EXPANDED_TEXT

# A set needs a comma and a sequence its dash, so that "[::1]" and "{id}" stay what they are.
_PATTERN = re.compile(
    r"\{([^{}\s]*,[^{}\s]*)\}|\[(\d{1,18})-(\d{1,18})(?::(\d{1,9}))?\]|\[([a-z])-([a-z])(?::(\d{1,9}))?\]"
    r"|\[([A-Z])-([A-Z])(?::(\d{1,9}))?\]",
    re.ASCII,
)


class TooMany(Exception):
    """A pattern stands for more addresses than anyone means."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of an address: what it may be, and whether each choice is another file."""

    choices: tuple[str, ...]
    files: bool = False


def expanded(text: str, room: int = MAX_EXPANDED_TEXT) -> list[list[str]]:
    """Return what *text* stands for: a list of files, each a list of addresses.

    Raises TooMany, also where a pattern stands for more than *room* characters.
    """
    parts = list(_parts(text))
    count = 1
    for part in parts:
        count *= len(part.choices)
        if count > MAX_EXPANDED or (count > 1 and count * len(text) > room):
            raise TooMany
    files: list[list[str]] = [[""]]
    for part in parts:
        if part.files:
            files = [[start + choice for start in file] for file in files for choice in part.choices]
        else:
            files = [[start + choice for start in file for choice in part.choices] for file in files]
    return files


def _parts(text: str) -> Iterator[_Part]:
    name_at = text.rfind("/", 0, _path_end(text)) + 1
    done = 0
    for match in _PATTERN.finditer(text):
        yield _Part((text[done : match.start()],))
        choices = _choices(match)
        in_name = name_at <= match.start() < _path_end(text)
        yield _Part(choices, files=in_name and match[1] is None)
        done = match.end()
    yield _Part((text[done:],))


def _path_end(text: str) -> int:
    return min(at for at in (text.find("?"), text.find("#"), len(text)) if at >= 0)


def _choices(match: re.Match[str]) -> tuple[str, ...]:
    if match[1] is not None:
        return tuple(match[1].split(","))
    if match[2] is not None:
        first, last, step = int(match[2]), int(match[3]), int(match[4] or 1)
        width = len(match[2])
        return tuple(str(each).zfill(width) for each in _span(first, last, step))
    first_letter, last_letter, letters_step = match.group(5, 6, 7) if match[5] else match.group(8, 9, 10)
    return tuple(map(chr, _span(ord(first_letter), ord(last_letter), int(letters_step or 1))))


def _span(first: int, last: int, step: int) -> range:
    found = range(first, last + 1, max(step, 1))
    if last < first or last - first >= MAX_EXPANDED * max(step, 1):
        raise TooMany
    return found
