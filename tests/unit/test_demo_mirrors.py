"""The demo's mirrors answer as HTTP/1.1 says, each with its own manners."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator

import pytest

from mountdl.demo.mirrors import Manners, Mirror, Mirrors, corrupted

DATA = bytes(range(256)) * 4096
CHUNK = 4096
FAST = 1e12


@pytest.fixture
def mirrors() -> Iterator[Mirrors]:
    manners = (
        Manners("honest", "", FAST),
        Manners("liar", "", FAST, lies=True),
        Manners("mortal", "", FAST, mortal=True),
    )
    with Mirrors({"a.bin": DATA}, CHUNK, manners) as running:
        yield running


def connection(mirror: Mirror) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", mirror.port, timeout=60)


def ask(
    link: http.client.HTTPConnection, path: str, span: str | None = None, method: str = "GET"
) -> tuple[int, str | None, bytes]:
    """Return status, Content-Range and body of an answer."""
    link.request(method, path, headers={} if span is None else {"Range": f"bytes={span}"})
    answer = link.getresponse()
    return answer.status, answer.headers["Content-Range"], answer.read()


def test_ranges_are_answered_on_one_connection(mirrors: Mirrors) -> None:
    """Many requests go over one kept connection, and each gets just its bytes."""
    mirror = mirrors.named("honest")
    link = connection(mirror)
    size = len(DATA)

    got = [ask(link, "/honest/a.bin", span) for span in ("0-9", "100-", f"{size - 5}-{size + 100}", None)]

    assert got == [
        (206, f"bytes 0-9/{size}", DATA[:10]),
        (206, f"bytes 100-{size - 1}/{size}", DATA[100:]),
        (206, f"bytes {size - 5}-{size - 1}/{size}", DATA[-5:]),
        (200, None, DATA),
    ]
    assert soon(lambda: mirrors.sent == mirror.sent == 10 + size - 100 + 5 + size)
    assert mirror.answers == 4
    link.close()


def test_what_is_not_there_is_refused_and_the_connection_kept(mirrors: Mirrors) -> None:
    """404 for another name or method, 416 beyond the end, and the next answer is right."""
    link = connection(mirrors.named("honest"))

    assert ask(link, "/honest/b.bin")[0] == 404
    assert ask(link, "/honest/a.bin", method="POST")[0] == 404
    assert ask(link, "/honest/a.bin", f"{len(DATA)}-")[:2] == (416, f"bytes */{len(DATA)}")
    assert ask(link, "/honest/a.bin", "7-7") == (206, f"bytes 7-7/{len(DATA)}", DATA[7:8])
    link.close()


def test_head_has_the_length_and_no_body(mirrors: Mirrors) -> None:
    """The next request on the connection works, so no body came."""
    link = connection(mirrors.named("honest"))
    link.request("HEAD", "/honest/a.bin")
    answer = link.getresponse()
    answer.read()

    assert answer.headers["Content-Length"] == str(len(DATA))
    assert ask(link, "/honest/a.bin", "0-0")[2] == DATA[:1]
    link.close()


def test_a_head_without_end_is_cut_off(mirrors: Mirrors) -> None:
    """Memory is bounded: the connection closes."""
    link = connection(mirrors.named("honest"))
    link.connect()
    link.sock.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)
    link.sock.settimeout(60)

    assert read_to_end(link) == b""
    link.close()


def read_to_end(link: http.client.HTTPConnection) -> bytes:
    try:
        return link.sock.recv(100)
    except ConnectionResetError:  # with our bytes unread, the kernel resets
        return b""


def test_every_tenth_chunk_of_the_liar_is_wrong_by_one_byte(mirrors: Mirrors) -> None:
    """Chunks 7, 17, 27... differ in one byte each, all others are right."""
    link = connection(mirrors.named("liar"))
    got = ask(link, "/liar/a.bin")[2]
    wrong = [at for at in range(len(DATA)) if got[at] != DATA[at]]

    assert [at // CHUNK for at in wrong] == list(range(7, len(DATA) // CHUNK, 10))
    link.close()


@pytest.mark.parametrize("size", [0, 1, 7 * CHUNK, 7 * CHUNK + 1, 18 * CHUNK - 1])
def test_lies_keep_the_size(size: int) -> None:
    """Whatever the size, and a last chunk that is short."""
    assert len(corrupted(bytes(size), CHUNK)) == size
    assert corrupted(bytes(size), CHUNK).count(0xFF) == (size > 7 * CHUNK) + (size > 17 * CHUNK)


def test_the_doomed_dies_in_the_middle_and_stays_dead(mirrors: Mirrors) -> None:
    """It breaks off its answer, refuses connections, and is not woken by the others' switch."""
    mirror = mirrors.named("mortal")
    mirrors.doom(100_000)
    link = connection(mirror)

    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        ask(link, "/mortal/a.bin")

    link.close()
    assert mirror.dead
    mirrors.switch(on=True)
    assert refuses(mirror)
    assert not refuses(mirrors.named("honest"))


def test_switched_off_they_refuse_and_come_back_on_the_same_port(mirrors: Mirrors) -> None:
    """So that a descriptor's URLs stay true."""
    mirror = mirrors.named("honest")
    port = mirror.port

    for _ in range(3):
        mirrors.switch(on=False)
        assert soon(lambda: refuses(mirror))
        mirrors.switch(on=True)
        assert soon(lambda: not refuses(mirror))

    assert mirror.port == port


def soon(claim: Callable[[], bool]) -> bool:
    """Return whether *claim* holds in the end: the mirrors' loop is another thread."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if claim():
            return True
        time.sleep(0.001)
    return False


def refuses(mirror: Mirror) -> bool:
    link = connection(mirror)
    try:
        return ask(link, f"/{mirror.name}/a.bin", "0-0")[0] != 206
    except (ConnectionError, http.client.HTTPException):
        return True
    finally:
        link.close()


def test_the_rate_is_kept_over_all_connections() -> None:
    """Half a MiB at 2 MiB/s takes a quarter of a second, however it is asked for."""
    with Mirrors({"a.bin": DATA}, CHUNK, [Manners("slow", "", 2 << 20)]) as running:
        links = [connection(running.named("slow")) for _ in range(4)]
        start = time.monotonic()
        for number, link in enumerate(links):
            link.request("GET", "/slow/a.bin", headers={"Range": f"bytes={number << 17}-{(number + 1 << 17) - 1}"})
        bodies = [link.getresponse().read() for link in links]
        took = time.monotonic() - start
        for link in links:
            link.close()

    assert b"".join(bodies) == DATA[: 1 << 19]
    assert took >= 0.24


def test_leaving_ends_the_thread_and_frees_the_ports(mirrors: Mirrors) -> None:
    """Even while an answer is under way."""
    with Mirrors({"a.bin": DATA}, CHUNK, [Manners("slow", "", 1000)]) as running:
        link = connection(running.named("slow"))
        link.request("GET", "/slow/a.bin")
        link.getresponse()

    assert not running._thread.is_alive()
    assert refuses(running.named("slow"))
    link.close()
