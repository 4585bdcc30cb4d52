"""A sample film, made by arithmetic: ten seconds of moving colours in an AVI file whose index is its last part.

Pure and deterministic: the same bytes on every machine. Pictures are uncompressed, which every player decodes;
the layout is that of the AVI RIFF File Reference with one video stream. No palette: ffmpeg forgets it on a seek.
"""

import colorsys
import math
import struct
from collections.abc import Callable, Iterator

WIDTH, HEIGHT = 320, 180
RATE = 20
"""Pictures a second."""
FRAMES = 200
PICTURE_SIZE = WIDTH * HEIGHT * 3
"""Bytes: blue, green and red of each pixel. Rows are padded to four bytes, which 960 need not."""

_COLOURS = 240
_BLACK, _WHITE = bytes(3), b"\xff" * 3
_BAR = 8
_BOX = 40
_HAS_INDEX = 0x10  # AVIF_HASINDEX of the main header
_KEY_FRAME = 0x10  # AVIIF_KEYFRAME of an index entry
_MOST_CHUNKS = 16

Read = Callable[[int, int], bytes]
"""Returns the bytes from an offset on, as many as a length says."""


def _rainbow() -> bytes:
    colours = [colorsys.hsv_to_rgb(i / _COLOURS, 0.8, 0.9) for i in range(_COLOURS)]
    return b"".join(bytes([round(b * 255), round(g * 255), round(r * 255)]) for r, g, b in colours)


# Long enough to cut a row of any phase out of it, so that no row is computed pixel by pixel.
_RAINBOW = _rainbow() * (WIDTH // _COLOURS + 2)


def film() -> bytes:
    """Return the film, about 33 MiB."""
    pictures = [_chunk(b"00db", picture(number)) for number in range(FRAMES)]
    movie = _list(b"movi", b"".join(pictures))
    body = _list(b"hdrl", _main_header() + _list(b"strl", _stream())) + movie + _chunk(b"idx1", _index(pictures))
    return _chunk(b"RIFF", b"AVI " + body)


def picture(number: int) -> bytes:
    """Return picture *number* as a bitmap, the lowest row first."""
    done = WIDTH * (number + 1) // FRAMES
    bar = _WHITE * done + _BLACK * (WIDTH - done)
    return bar * _BAR + b"".join(_rows(number))


def _rows(number: int) -> Iterator[bytes]:
    left, low = _bounce(number * 7, WIDTH - _BOX), _bounce(number * 4, HEIGHT - _BAR - _BOX)
    box = _WHITE * _BOX
    for y in range(HEIGHT - _BAR):
        phase = (number * 3 + round(60 * math.sin(y / 30 + number / 10))) % _COLOURS
        row = _RAINBOW[3 * phase : 3 * (phase + WIDTH)]
        yield row[: 3 * left] + box + row[3 * (left + _BOX) :] if low <= y < low + _BOX else row


def _bounce(way: int, room: int) -> int:
    """Return where something is that has gone *way* to and fro in *room*."""
    return room - abs(way % (2 * room) - room)


def frames_by_index(read: Read) -> int:
    """Return how many pictures the index of a film lists, found as a player does: from the head to the end.

    ValueError when there is no such index.
    """
    if read(0, 4) != b"RIFF":
        raise ValueError("not a RIFF file")
    offset = 12
    for _ in range(_MOST_CHUNKS):
        head = read(offset, 8)
        if len(head) < 8:
            break
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"idx1":
            return len(read(offset + 8, length)) // 16
        offset += 8 + length + length % 2
    raise ValueError("no index")


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _list(kind: bytes, body: bytes) -> bytes:
    return _chunk(b"LIST", kind + body)


def _main_header() -> bytes:
    rates = (1_000_000 // RATE, PICTURE_SIZE * RATE)
    fields = (*rates, 0, _HAS_INDEX, FRAMES, 0, 1, PICTURE_SIZE + 8, WIDTH, HEIGHT, 0, 0, 0, 0)
    return _chunk(b"avih", struct.pack("<14I", *fields))


def _stream() -> bytes:
    times = struct.pack("<8I", 0, 1, RATE, 0, FRAMES, PICTURE_SIZE + 8, 10_000, 0)
    header = b"vidsDIB " + struct.pack("<IHH", 0, 0, 0) + times + struct.pack("<4h", 0, 0, WIDTH, HEIGHT)
    # BITMAPINFOHEADER: a positive height says that the lowest row comes first.
    bitmap = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 24, 0, PICTURE_SIZE, 0, 0, 0, 0)
    return _chunk(b"strh", header) + _chunk(b"strf", bitmap)


def _index(pictures: list[bytes]) -> bytes:
    entries, offset = [], 4  # offsets count from the word "movi"
    for chunk in pictures:
        entries.append(b"00db" + struct.pack("<3I", _KEY_FRAME, offset, PICTURE_SIZE))
        offset += len(chunk)
    return b"".join(entries)
