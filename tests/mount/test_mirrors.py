"""A mirror that fails costs a chunk from another one; when all fail a read says so in time, and heals."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from threading import Timer

import pytest

from tests.support.content import pattern
from tests.support.httpserver import Request, Stream, answer
from tests.support.machine import patience, slowness
from tests.support.mirrors import (
    Manner,
    Mirror,
    Mirrors,
    changing,
    deaf,
    dying,
    head,
    honest,
    lying,
    paced,
    refusing,
    shifted,
    short,
    shrinking,
    span,
    stalling,
)
from tests.support.mounts import LONGEST, Mounts, eventually, mountdl, needs_fuse, within
from tests.support.samples import CHUNK, MIB, metalink3, publish

pytestmark = needs_fuse

NAME = "film.bin"
BAD: dict[str, Manner] = {
    "wrong-content-range": shifted,
    "short-bodies": short,
    "busy": refusing("503 Service Unavailable", "Retry-After: 30"),
    "missing": refusing("404 Not Found"),
    "gone": refusing("410 Gone"),
    "forbidden": refusing("403 Forbidden"),
    "failing": refusing("500 Internal Server Error"),
    "shrinking": shrinking(3 * MIB, after=3),
    "ignoring-ranges": deaf,
    "lying-always": lying(CHUNK, every=1),
    "stalling-at-once": stalling(0),
    "dying": dying(2 * MIB),
    "circling": refusing("302 Found", f"Location: /circling/{NAME}"),
}


def published(mirrors: Mirrors, source: Path, data: bytes, *manners: tuple[str, Manner]) -> list[Mirror]:
    made = [mirrors.add(name, {NAME: data}, manner) for name, manner in manners]
    publish(source, NAME, data, [mirror.of(NAME) for mirror in made])
    return made


@pytest.mark.parametrize("name", BAD)
def test_one_bad_mirror_of_two(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes, name: str) -> None:
    """The whole file is right, without a pause anybody would call a hang, and why tells what the bad one did."""
    data = film_bytes[: 6 * MIB + 11]
    bad, _ = published(mirrors, source, data, (name, BAD[name]), ("honest", paced(8 * MIB)))
    mount = mounted(source, timeout=2, retry_wait=0.3)

    start = time.monotonic()
    assert mount.read(NAME, 3 * MIB, 4096) == data[3 * MIB : 3 * MIB + 4096]
    assert mount.read(NAME) == data
    assert time.monotonic() - start < patience(6)
    assert bad.asked
    told = [line for line in mount.why(NAME).splitlines() if f"/{name}/" in line]
    # One that only is silent has done nothing yet that could be told of it.
    assert [line for line in told if line.startswith("    20") or name == "stalling-at-once"]


def test_a_redirect_is_followed(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """To another host, and the file there need not have the same name."""
    data = film_bytes[: 3 * MIB]
    there = mirrors.add("there", {"other": data})
    [here] = published(mirrors, source, data, ("here", refusing("302 Found", f"Location: {there.of('other')}")))
    mount = mounted(source)

    assert mount.read(NAME) == data
    assert here.asked
    assert there.sent >= len(data)


def test_a_mirror_that_is_killed_and_started_again(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    """In the middle of a read: the read goes on when it is back, and nothing is fetched twice but what was on its way."""
    [mirror] = published(mirrors, source, film_bytes, ("only", paced(16 * MIB)))
    mount = mounted(source, retry_wait=0.2)
    with open(mount / NAME, "rb", buffering=0) as file:
        got = within(LONGEST, lambda: file.read(2 * MIB))
        mirrors.stop(mirror)
        time.sleep(0.5)
        mirrors.start(mirror)
        while more := within(LONGEST, lambda: file.read(MIB)):
            got += more

    assert got == film_bytes
    assert mirror.sent < len(film_bytes) + 8 * MIB


def test_all_mirrors_down_is_an_error_in_time_and_heals(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    """EIO after the five seconds that a short outage gets; the reason in the file's error; right bytes when one is back."""
    one, two = published(mirrors, source, film_bytes, ("one", honest), ("two", honest))
    mount = mounted(source, background="off", retry_wait=0.2)
    assert mount.read(NAME, 0, 4096) == film_bytes[:4096]
    start = time.monotonic()
    mirrors.stop(one)
    mirrors.stop(two)

    assert mount.errno(NAME, 9 * MIB) == errno.EIO
    took = time.monotonic() - start
    assert 4 < took < patience(8)
    assert "connection refused" in mount.xattr(NAME, "error")
    assert mount.file(NAME)["state"] == "error"
    assert mount.read(NAME, 0, 4096) == film_bytes[:4096]

    mirrors.start(two)
    start = time.monotonic()
    assert mount.read(NAME, 9 * MIB, 4096) == film_bytes[9 * MIB : 9 * MIB + 4096]
    assert time.monotonic() - start < patience(5)
    assert mount.read(NAME) == film_bytes
    assert mount.file(NAME)["state"] == "complete"
    assert mount.xattr(NAME, "error") == ""


def test_a_busy_mirror_is_asked_again_when_it_said_so(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    """503 with Retry-After: 1 from the only mirror: the read waits, not the user's patience."""
    data = film_bytes[:MIB]
    manners: list[Manner] = [refusing("503 Service Unavailable", "Retry-After: 1")]
    [mirror] = published(mirrors, source, data, ("only", changing(manners)))
    mount = mounted(source, background="off")

    Timer(1.5, lambda: manners.append(honest)).start()
    start = time.monotonic()
    assert mount.read(NAME) == data
    assert 1 < time.monotonic() - start < patience(5)
    assert len(mirror.asked) < 8


def test_nothing_but_404_is_an_error_at_once(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    """No mirror will ever have it: nobody waits for the time-out."""
    published(mirrors, source, film_bytes[:MIB], ("one", BAD["missing"]), ("two", BAD["gone"]))
    mount = mounted(source)

    start = time.monotonic()
    assert mount.errno(NAME) == errno.EIO
    assert time.monotonic() - start < 4.5 * slowness()  # an outage gets five seconds
    told = mount.why(NAME)
    assert "/one/film.bin: " in told
    assert "404" in told
    assert "410" in told


def test_every_mirror_lies(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """Not one byte of a wrong chunk is served; right chunks are; both liars are named."""
    data = film_bytes[: 5 * MIB]
    published(mirrors, source, data, ("one", lying(CHUNK)), ("two", lying(CHUNK)))
    mount = mounted(source, background="off", retry_wait=0.2)

    assert mount.read(NAME, 0, CHUNK) == data[:CHUNK]
    assert mount.errno(NAME, 9 * CHUNK) == errno.EIO
    told = mount.why(NAME)
    for name in ("one", "two"):
        assert f"/{name}/film.bin: sent wrong bytes for chunk 9" in told


def test_every_mirror_has_another_file_now(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """All say another size: the file is stale, which is another thing than an error."""
    data = film_bytes[: 2 * MIB]
    other = {NAME: film_bytes[: 3 * MIB]}
    made = [mirrors.add(name, other) for name in ("one", "two")]
    publish(source, NAME, data, [mirror.of(NAME) for mirror in made])
    mount = mounted(source)

    assert mount.errno(NAME) == errno.ESTALE


async def packing(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
    """Pack what was asked for."""
    start, stop = span(request, len(data))
    await stream.send_all(head(request, len(data), "Content-Encoding: gzip"))
    await mirror.send(stream, memoryview(data)[start:stop])
    return True


async def in_parts(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
    """Answer any range with several parts."""
    kind = "Content-Type: multipart/byteranges; boundary=x"
    await stream.send_all(answer("206 Partial Content", kind, body=b"--x\r\n\r\nabc\r\n--x--"))
    return True


@pytest.mark.parametrize(
    ("manner", "words"), [(packing, "Content-Encoding: 'gzip'"), (in_parts, "multipart/byteranges")]
)
def test_every_server_answers_what_was_not_asked(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes, manner: Manner, words: str
) -> None:
    """That tells nothing of the file: EIO, and what the servers did is told, with what helps."""
    published(mirrors, source, film_bytes, ("one", manner), ("two", manner))
    mount = mounted(source)

    assert mount.errno(NAME) == errno.EIO
    for said in (mount.why(NAME), mountdl("status", mount / NAME).stdout, mount.xattr(NAME, "error")):
        assert words in said
        assert "a fault of its server, so name another mirror" in said
        assert "another file" not in said


def test_a_file_with_a_digest_of_the_whole_only(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    """A liar is found out when all is here; what it sent is discarded, and later reads get the right bytes."""
    data = film_bytes[: 3 * MIB]
    liar, good = mirrors.add("liar", {NAME: data}, lying(CHUNK)), mirrors.add("honest", {NAME: data}, up=False)
    publish(source, NAME, data, [liar.of(NAME), good.of(NAME)], chunk=None)
    mount = mounted(source, retry_wait=0.2)

    assert mount.xattr(NAME, "level") == "whole"
    within(LONGEST, lambda: os.setxattr(mount / NAME, "user.mountdl.prefetch", b"all"))
    eventually(5, lambda: "/liar/film.bin: sent wrong bytes" in mount.why(NAME))
    assert mount.file(NAME)["written"] == 0
    mirrors.start(good)
    assert mount.read(NAME) == data
    assert eventually(5, lambda: mount.file(NAME)["state"] == "complete")


def test_metalink_3(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """Version 3.0 with SHA-1 pieces: read, verified, the liar named."""
    data = film_bytes[: 5 * MIB]
    made = [mirrors.add("liar", {NAME: data}, lying(CHUNK, 2)), mirrors.add("honest", {NAME: data})]
    (source / f"{NAME}.metalink").write_text(metalink3(NAME, data, [mirror.of(NAME) for mirror in made]))
    mount = mounted(source)

    assert mount.read(NAME) == data
    assert mount.xattr(NAME, "level") == "chunk"
    assert "/liar/film.bin: sent wrong bytes" in mount.why(NAME)


def test_hundreds_of_dead_mirrors_before_a_good_one(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """A read goes through them all to the one that answers."""
    data = pattern(300_000)
    good = mirrors.add("good", {NAME: data})
    gone = mirrors.add("gone", {NAME: data}, up=False)
    urls = [f"http://127.0.{number // 250}.{number % 250 + 1}:{gone.port}/gone/{NAME}" for number in range(600)]
    publish(source, NAME, data, [*urls, good.of(NAME)])

    assert mounted(source).read(NAME, timeout=2 * LONGEST) == data
