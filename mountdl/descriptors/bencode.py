"""Read bencode (BEP 3) of strangers, and write it. Pure.

Law: no recursion, nothing is allocated that the input does not hold, and every count is bounded. Where real
files are looser than the format (keys unsorted or repeated, leading zeros, bytes behind the end) the value
is read and the looseness told; of a repeated key the first counts.
"""

import re
from dataclasses import dataclass, field
from typing import TypeAlias

from mountdl.descriptors.limits import MAX_BENCODE_DEPTH, MAX_BENCODE_VALUES
from mountdl.errors import DescriptorError, ExitStatus

Value: TypeAlias = int | bytes | list["Value"] | dict[bytes, "Value"]

_INTEGER = re.compile(rb"i(-?)(\d{1,20})e")
_LENGTH = re.compile(rb"(\d{1,10}):")


class TorrentError(DescriptorError):
    """A torrent that can't be used."""

    exit_status = ExitStatus.BAD_TORRENT


@dataclass(frozen=True, slots=True)
class Decoded:
    """A value, the spans of a root dictionary's values in the input, and what was looser than the format."""

    value: Value
    spans: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    loose: tuple[str, ...] = ()


@dataclass(slots=True)
class _Open:
    """A list or dictionary whose end has not come yet; *key* is what the next value of a dictionary is for."""

    value: "list[Value] | dict[bytes, Value]"
    key: bytes | None = None
    last: bytes | None = None
    started: int = 0


def decode(data: bytes) -> Decoded:
    """Return the value that *data* starts with. Raises TorrentError bad-bencode, too-deep or limits."""
    return _Decoder(data).run()


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._open: list[_Open] = []
        self._spans: dict[bytes, tuple[int, int]] = {}
        self._loose: dict[str, None] = {}
        self._count = 0

    def run(self) -> Decoded:
        while True:
            started = self._at
            kind = self._data[started : started + 1]
            self._count += 1
            if self._count > MAX_BENCODE_VALUES:
                raise TorrentError("limits", f"the torrent has more than {MAX_BENCODE_VALUES} values")
            if kind in {b"l", b"d"}:
                self._begin(kind)
                continue
            value: Value
            if kind == b"e":
                ended = self._end()
                value, started = ended.value, ended.started
            else:
                value = self._integer() if kind == b"i" else self._string()
            if not self._open:
                if self._at != len(self._data):
                    self._loose["bytes behind the end"] = None
                return Decoded(value, self._spans, tuple(self._loose))
            self._put(value, started)

    def _begin(self, kind: bytes) -> None:
        if len(self._open) >= MAX_BENCODE_DEPTH:
            raise TorrentError("too-deep", f"the torrent nests more than {MAX_BENCODE_DEPTH} values")
        self._open.append(_Open([] if kind == b"l" else {}, started=self._at))
        self._at += 1

    def _end(self) -> _Open:
        if not self._open:
            raise self._bad("an end without a beginning")
        ended = self._open.pop()
        if ended.key is not None:
            raise self._bad("a key without a value")
        self._at += 1
        return ended

    def _put(self, value: Value, started: int) -> None:
        parent = self._open[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
            return
        if parent.key is None:
            if not isinstance(value, bytes):
                raise self._bad("a key that is no string")
            if parent.last is not None and value <= parent.last:
                self._loose["keys out of order or repeated"] = None
            parent.key = parent.last = value
            return
        if parent.key not in parent.value:
            parent.value[parent.key] = value
            if len(self._open) == 1:
                self._spans[parent.key] = (started, self._at)
        parent.key = None

    def _integer(self) -> int:
        match = _INTEGER.match(self._data, self._at)
        if match is None:
            raise self._bad("a number that is none")
        sign, digits = match[1], match[2]
        if (len(digits) > 1 and digits.startswith(b"0")) or (sign and digits == b"0"):
            self._loose["numbers with leading zeros"] = None
        self._at = match.end()
        return int(sign + digits)

    def _string(self) -> bytes:
        match = _LENGTH.match(self._data, self._at)
        if match is None:
            raise self._bad("something that is no value")
        if len(match[1]) > 1 and match[1].startswith(b"0"):
            self._loose["numbers with leading zeros"] = None
        stop = match.end() + int(match[1])
        if stop > len(self._data):
            raise self._bad("a string that is longer than the file")
        self._at = stop
        return self._data[match.end() : stop]

    def _bad(self, what: str) -> TorrentError:
        return TorrentError("bad-bencode", f"not bencoded: {what}, at byte {self._at}")


def encode(value: Value) -> bytes:
    """Return *value* as BEP 3 has it, the keys of dictionaries in order."""
    parts: list[bytes] = []
    # What is still to be written; None ends a list or dictionary. No recursion here either.
    waiting: list[Value | None] = [value]
    while waiting:
        each = waiting.pop()
        if each is None:
            parts.append(b"e")
        elif isinstance(each, bytes):
            parts.append(b"%d:%s" % (len(each), each))
        elif isinstance(each, int):
            parts.append(b"i%de" % each)
        else:
            parts.append(b"l" if isinstance(each, list) else b"d")
            waiting.append(None)
            below = each if isinstance(each, list) else [part for key in sorted(each) for part in (key, each[key])]
            waiting.extend(reversed(below))
    return b"".join(parts)
