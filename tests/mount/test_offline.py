"""No source answers, or another content is there now: what is stored stays, and is never mixed with anything else."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from tests.support.content import pattern
from tests.support.httpserver import Request, Stream, answer
from tests.support.machine import patience
from tests.support.mirrors import Manner, Mirror, Mirrors, head, span
from tests.support.mounts import LONGEST, Mounts, eventually, needs_fuse, run, within
from tests.support.samples import MIB, publish

pytestmark = needs_fuse

NAME = "film.bin"


class Origin:
    """A mirror's file and its ETag, which tests change while it serves."""

    def __init__(self, data: bytes) -> None:
        self.data, self.etag = data, "one"

    def become(self, data: bytes, etag: str) -> None:
        self.data, self.etag = data, etag

    def manner(self) -> Manner:
        async def manner(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
            now = self.data
            start, stop = span(request, len(now))
            await stream.send_all(head(request, len(now), f'ETag: "{self.etag}"'))
            if request.method != "HEAD":
                await mirror.send(stream, memoryview(now)[start:stop])
            return True

        return manner


def test_unreachable_is_not_deleted_and_not_changed(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    """The file stays listed with its size, stored bytes are read by old and new handles, the rest is EIO, not ESTALE."""
    mirror = mirrors.add("only", {NAME: film_bytes})
    publish(source, NAME, film_bytes, [mirror.of(NAME)])
    mount = mounted(source, background="off", retry_wait=0.2)
    with open(mount / NAME, "rb", buffering=0) as old:
        assert mount.read(NAME, 0, MIB) == film_bytes[:MIB]
        verified = int(mount.xattr(NAME, "verified"))
        mirrors.stop(mirror)
        start = time.monotonic()
        assert mount.errno(NAME, 9 * MIB) == errno.EIO
        assert time.monotonic() - start < patience(8)  # five seconds are promised

        assert run("ls", mount.path).stdout == f"{NAME}\n"
        assert (mount / NAME).stat().st_size == len(film_bytes)
        assert mount.read(NAME, 0, MIB) == film_bytes[:MIB]
        assert within(LONGEST, lambda: os.pread(old.fileno(), 4096, 5000)) == film_bytes[5000:9096]
        assert int(mount.xattr(NAME, "verified")) >= verified
        assert "changed" not in mount.xattr(NAME, "error")

        mirrors.start(mirror)
        assert eventually(LONGEST, lambda: mount.errno(NAME, 9 * MIB) == 0)
        assert within(LONGEST, lambda: os.pread(old.fileno(), 4096, 12 * MIB)) == film_bytes[12 * MIB : 12 * MIB + 4096]
    assert mount.read(NAME) == film_bytes
    assert mount.xattr(NAME, "error") == ""


@pytest.mark.parametrize("change", ["etag", "length"])
def test_another_content_at_the_source_is_never_mixed_in(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes, change: str
) -> None:
    """Where no digest could tell: what came of the old stays readable, through the open handle too; the rest is ESTALE."""
    other = bytes(reversed(film_bytes)) if change == "etag" else film_bytes[::-1] + b"more"
    origin = Origin(film_bytes)
    mirror = mirrors.add("only", {NAME: film_bytes}, origin.manner())
    publish(source, NAME, film_bytes, [mirror.of(NAME)], chunk=None, whole=False)
    mount = mounted(source, background="off", retry_wait=0.2)
    with open(mount / NAME, "rb", buffering=0) as old:
        assert mount.read(NAME, 0, MIB) == film_bytes[:MIB]
        origin.become(other, "two" if change == "etag" else "one")
        assert mount.errno(NAME, 9 * MIB) == errno.ESTALE
        with pytest.raises(OSError, match="Stale") as caught:
            within(LONGEST, lambda: os.pread(old.fileno(), 4096, 12 * MIB))
        assert caught.value.errno == errno.ESTALE
        os.posix_fadvise(old.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert within(LONGEST, lambda: os.pread(old.fileno(), MIB, 0)) == film_bytes[:MIB]
        assert mount.why(NAME)
    [file] = mount.data_files()
    kept = file.read_bytes()
    for at in range(0, len(kept), 4096):
        block = kept[at : at + 4096]
        assert block == film_bytes[at : at + 4096] or not any(block)


def test_a_changed_descriptor_has_both_contents_side_by_side(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    """Same name and size, other digests: who has it open reads the old to its end, who opens it reads the new."""
    new = film_bytes[::-1]
    old_mirror, new_mirror = mirrors.add("old", {NAME: film_bytes}), mirrors.add("new", {NAME: new})
    publish(source, NAME, film_bytes, [old_mirror.of(NAME)])
    mount = mounted(source, background="off")
    with open(mount / NAME, "rb", buffering=0) as old:
        assert within(LONGEST, lambda: os.pread(old.fileno(), MIB, 0)) == film_bytes[:MIB]
        publish(source, NAME, new, [new_mirror.of(NAME)])
        eventually(LONGEST, lambda: mount.read(NAME, 0, 4096) == new[:4096])
        assert within(LONGEST, lambda: os.pread(old.fileno(), MIB, 8 * MIB)) == film_bytes[8 * MIB : 9 * MIB]
        assert mount.read(NAME) == new
        assert within(LONGEST, lambda: os.pread(old.fileno(), MIB, 3 * MIB)) == film_bytes[3 * MIB : 4 * MIB]
    assert len(mount.data_files()) == 2


@pytest.mark.parametrize("changed", [False, True])
def test_a_file_of_which_no_server_tells_the_length(
    mirrors: Mirrors, mounted: Mounts, source: Path, *, changed: bool
) -> None:
    """It shows once it was fetched, and is here then; another mount fetches it again only if it is another."""
    data = [pattern(3 * MIB + 7, seed=1)]
    version = ['"one"']

    async def on_demand(mirror: Mirror, _: bytes, request: Request, stream: Stream) -> bool:
        if request.headers.get("if-none-match") == version[0]:
            await stream.send_all(answer("304 Not Modified"))
            return True
        kind = ("Transfer-Encoding: chunked", f"ETag: {version[0]}")
        await stream.send_all(answer("200 OK", *kind, length=None))
        if request.method == "GET":
            await mirror.send(stream, b"%x\r\n%s\r\n0\r\n\r\n" % (len(data[0]), data[0]))
        return True

    mirror = mirrors.add("maker", {NAME: b""}, on_demand)
    (source / "list.uris").write_text(f"{mirror.of(NAME)}\n")
    mount = mounted(source)
    eventually(LONGEST, (mount / NAME).exists)
    assert mount.read(NAME) == data[0]
    whole = [each for each in mirror.asked if each.method == "GET" and "range" not in each.headers]
    assert 1 == len(whole)
    mount.unmount()

    if changed:
        data[0], version[0] = pattern(3 * MIB + 7, seed=2), '"two"'
    asked = len(mirror.asked)
    again = mounted(source)
    eventually(LONGEST, lambda: "if-none-match" in {name for each in mirror.asked[asked:] for name in each.headers})
    eventually(LONGEST, lambda: (again / NAME).exists() and again.read(NAME) == data[0])
