"""The sample film is an AVI file by the book, whose index is its last part."""

from __future__ import annotations

import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path

import pytest

from mountdl.demo import film
from mountdl.demo.film import FRAMES, PICTURE_SIZE


@cache
def whole() -> bytes:
    return film.film()


def chunks(data: bytes) -> list[tuple[bytes, int, bytes]]:
    """Name, offset and body of each chunk in *data*."""
    found, offset = [], 0
    while offset < len(data):
        name, length = struct.unpack_from("<4sI", data, offset)
        found.append((name, offset, data[offset + 8 : offset + 8 + length]))
        offset += 8 + length + length % 2
    return found


def test_the_film_is_one_riff_file_of_header_pictures_and_index() -> None:
    """The lengths of all chunks add up, and the index comes last."""
    [(name, _, body)] = chunks(whole())
    parts = chunks(body[4:])

    assert (name, body[:4]) == (b"RIFF", b"AVI ")
    assert [(n, b[:4]) for n, _, b in parts] == [(b"LIST", b"hdrl"), (b"LIST", b"movi"), (b"idx1", b"00db")]


def test_each_index_entry_points_at_its_picture() -> None:
    """Offsets count from the word "movi", and each picture has the size that the index says."""
    _, (_, _, movie), (_, _, index) = chunks(chunks(whole())[0][2][4:])

    entries = list(struct.iter_unpack("<4s3I", index))

    assert len(entries) == FRAMES
    for number, (name, _, offset, length) in enumerate(entries):
        assert (name, length) == (b"00db", PICTURE_SIZE)
        assert struct.unpack_from("<4sI", movie, offset) == (b"00db", PICTURE_SIZE)
        if number % 50 == 0:
            assert film.picture(number) == movie[offset + 8 : offset + 8 + length]


def test_pictures_have_the_right_size_and_move() -> None:
    """No picture is like the one before."""
    pictures = [film.picture(number) for number in range(10)]

    assert {PICTURE_SIZE} == {len(picture) for picture in pictures}
    assert len(set(pictures)) == len(pictures)


def test_the_index_is_found_without_reading_the_pictures() -> None:
    """A reader needs the chunk heads and the index, a few kilobytes."""
    read = 0

    def counted(offset: int, length: int) -> bytes:
        nonlocal read
        read += length
        return whole()[offset : offset + length]

    assert film.frames_by_index(counted) == FRAMES
    assert read < 4096


@pytest.mark.parametrize("data", [b"", b"RIFF", b"nonsense" * 10, b"RIFF\0\0\0\0AVI " + b"LIST\0\0\0\0" * 100])
def test_what_has_no_index_is_refused(data: bytes) -> None:
    """Wrong bytes give a ValueError, not an endless search."""
    with pytest.raises(ValueError, match=r"not a RIFF|no index"):
        film.frames_by_index(lambda offset, length: data[offset : offset + length])


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_ffmpeg_decodes_all_of_it_and_seeks(tmp_path: Path) -> None:
    """Decoding says not a word, and a picture after a seek is the one made."""
    path = tmp_path / "film.avi"
    path.write_bytes(whole())

    every = subprocess.run(["ffmpeg", "-v", "warning", "-i", path, "-f", "null", "-"], capture_output=True, check=True)
    raw = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "bgr24", "-vf", "vflip", "-"]
    one = subprocess.run(["ffmpeg", "-v", "error", "-ss", "5", "-i", path, *raw], capture_output=True, check=True)

    assert every.stderr == b""
    assert one.stdout == film.picture(100)
