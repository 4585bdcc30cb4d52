"""The sample files, and a metalink and a torrent that describe them. Deterministic but for the URLs of the mirrors."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from mountdl.demo import disc
from mountdl.demo.film import film
from mountdl.descriptors import compose
from mountdl.descriptors.model import Entry
from mountdl.descriptors.sums import PieceSums

PIECE_LENGTH = 256 << 10
"""Bytes that have a digest of their own."""

FILM = "sample-film.avi"
DISC = "sample-disc.iso"

_SEED = 9660
_PICTURES = 40
_PICTURE_SIZE = 720_000


@dataclass(frozen=True, slots=True)
class Sample:
    """A file called *name* with the bytes *data*."""

    name: str
    data: bytes


def make_samples() -> tuple[Sample, Sample]:
    """Return the film and the disc, about 30 MB each."""
    return Sample(FILM, film()), Sample(DISC, disc.image(disc_files(), "MOUNTDL_DEMO"))


def disc_files() -> dict[PurePosixPath, bytes]:
    """Return what is on the disc: some text, and pictures that are noise, as photographs are to a packer."""
    noise = random.Random(_SEED)
    files = {PurePosixPath("/README.TXT"): b"A sample disc. Its pictures are noise.\r\n"}
    for chapter in range(1, 13):
        lines = [f"Chapter {chapter}, line {line}\r\n" for line in range(1, 40 * chapter)]
        files[PurePosixPath(f"/BOOK/PART{(chapter + 3) // 4}/CHAP{chapter:02}.TXT")] = "".join(lines).encode()
    for number in range(_PICTURES):
        path = PurePosixPath(f"/PHOTOS/{2020 + number // 8}/IMG{number:05}.RAW")
        files[path] = noise.randbytes(_PICTURE_SIZE + 1000 * number)
    return files


def metalink(sample: Sample, urls: Sequence[str]) -> str:
    """Return a metalink (RFC 5854) of *sample* with piece digests and *urls*, the preferred one first."""
    data = memoryview(sample.data)
    pieces = [hashlib.sha256(data[at : at + PIECE_LENGTH]).hexdigest() for at in range(0, len(data), PIECE_LENGTH)]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<metalink xmlns="urn:ietf:params:xml:ns:metalink">',
        f'  <file name="{sample.name}">',
        f"    <size>{len(data)}</size>",
        f'    <hash type="sha-256">{hashlib.sha256(data).hexdigest()}</hash>',
        f'    <pieces length="{PIECE_LENGTH}" type="sha-256">',
        *(f"      <hash>{piece}</hash>" for piece in pieces),
        "    </pieces>",
        *(f'    <url priority="{priority}">{url}</url>' for priority, url in enumerate(urls, 1)),
        "  </file>",
        "</metalink>",
    ]
    return "\n".join(lines) + "\n"


def torrent(sample: Sample, urls: Sequence[str]) -> bytes:
    """Return a torrent (BEP 3) of *sample* with *urls* as its web seeds (BEP 19), and no tracker."""
    pieces = PieceSums("sha-1", PIECE_LENGTH)
    pieces.update(memoryview(sample.data))
    entry = Entry(PurePosixPath(sample.name), len(sample.data))
    return compose.torrent([entry], sample.name, pieces.finish(), urls, "mountdl demo")
