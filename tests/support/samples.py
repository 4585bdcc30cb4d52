"""Descriptors for tests with mounts, and real files for real tools; made once a run."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from tests.support.content import pattern

CHUNK = 256 << 10
MIB = 1 << 20


def digests(data: bytes, chunk: int, algorithm: str = "sha256") -> list[str]:
    """Return the hex digest of each chunk of *data*."""
    return [hashlib.new(algorithm, data[at : at + chunk]).hexdigest() for at in range(0, len(data), chunk)]


def metalink4(
    name: str, data: bytes, urls: Sequence[str], *, chunk: int | None = CHUNK, whole: bool = True, more: str = ""
) -> str:
    """Return a metalink 4 (RFC 5854) for *data*; *more* goes into the file element."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<metalink xmlns="urn:ietf:params:xml:ns:metalink">']
    lines += [f"<file name={quoteattr(name)}><size>{len(data)}</size>", more]
    if whole:
        lines.append(f'<hash type="sha-256">{hashlib.sha256(data).hexdigest()}</hash>')
    if chunk is not None:
        lines.append(f'<pieces length="{chunk}" type="sha-256">')
        lines += [f"<hash>{each}</hash>" for each in digests(data, chunk)]
        lines.append("</pieces>")
    lines += [f'<url priority="{rank}">{escape(url)}</url>' for rank, url in enumerate(urls, 1)]
    return "\n".join([*lines, "</file></metalink>", ""])


def metalink3(name: str, data: bytes, urls: Sequence[str], *, chunk: int = CHUNK) -> str:
    """Return a metalink 3.0 for *data*, with SHA-1 pieces as its makers wrote them."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', '<metalink version="3.0" xmlns="http://www.metalinker.org/">']
    lines += [f"<files><file name={quoteattr(name)}><size>{len(data)}</size><verification>"]
    lines += [f'<hash type="md5">{hashlib.md5(data).hexdigest()}</hash>']
    lines += [f'<hash type="sha1">{hashlib.sha1(data).hexdigest()}</hash>']
    lines.append(f'<pieces length="{chunk}" type="sha1">')
    lines += [f'<hash piece="{index}">{each}</hash>' for index, each in enumerate(digests(data, chunk, "sha1"))]
    lines.append("</pieces></verification><resources>")
    lines += [f'<url type="http" preference="{100 - rank}">{escape(url)}</url>' for rank, url in enumerate(urls)]
    return "\n".join([*lines, "</resources></file></files></metalink>", ""])


def publish(source: Path, name: str, data: bytes, urls: Sequence[str], **more: object) -> Path:
    """Put a metalink 4 for *name* into *source*; see `metalink4` for *more*. Return its path."""
    path = source / f"{name}.meta4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(metalink4(Path(name).name, data, urls, **more))  # type: ignore[arg-type]
    return path


def _made(path: Path, command: Sequence[str | Path], cwd: Path) -> bytes:
    subprocess.run(list(map(str, command)), cwd=cwd, check=True, capture_output=True, timeout=60)
    return path.read_bytes()


def film(place: Path) -> bytes:
    """Return a 20 s film of about 20 MB whose index (the moov box) is at its end, as encoders leave it."""
    path = place / "film.mp4"
    pictures = "testsrc2=size=480x270:rate=25,noise=alls=40:allf=t"
    codec = ["-c:v", "mpeg4", "-b:v", "8M", "-g", "25"]
    made = _made(path, ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", pictures, "-t", "20", *codec, path], place)
    assert made.rindex(b"moov") > len(made) * 0.9
    return made


def folder(place: Path) -> Path:
    """Make a folder of 24 files of 1 MB that no packer shrinks."""
    path = place / "folder"
    if not path.exists():
        for number in range(24):
            file = path / f"part{number % 4}" / f"file{number:02}.bin"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(pattern(1_000_000, number))
    return path


def disc(place: Path) -> bytes:
    """Return an ISO 9660 image of the folder."""
    return _made(place / "disc.iso", ["genisoimage", "-quiet", "-r", "-J", "-o", "disc.iso", folder(place)], place)


def squashed(place: Path) -> bytes:
    """Return a squashfs of the folder."""
    command = ["mksquashfs", str(folder(place)), "disc.squashfs", "-quiet", "-no-progress", "-noappend", "-noI", "-noD"]
    return _made(place / "disc.squashfs", [*command, "-processors", "1"], place)


def packed(place: Path) -> bytes:
    """Return a 7z of the folder, uncompressed; its index is at the end."""
    return _made(place / "packed.7z", ["7z", "a", "-mx=0", "-bd", "packed.7z", folder(place)], place)


def zipped(place: Path) -> bytes:
    """Return a zip of the folder; its index is at the end."""
    path = place / "packed.zip"
    with zipfile.ZipFile(path, "w") as made:
        for file in sorted(folder(place).rglob("*.bin")):
            made.write(file, file.relative_to(place))
    return path.read_bytes()


def tarred(place: Path) -> bytes:
    """Return a tar of three files of 8 MB: between their headers is nothing that a lister needs."""
    path, file = place / "three.tar", place / "big.bin"
    with tarfile.open(path, "w") as made:
        for number in range(3):
            file.write_bytes(pattern(8 * MIB, 100 + number))
            made.add(file, f"big{number}.bin")
    return path.read_bytes()
