"""FTP servers that fail and lie, played by a script: each fault with its outcome."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
import trio

from mountdl.errors import SourceError, SourceMismatch, SourceRefused, SourceUnavailable
from mountdl.settings import HttpSettings
from mountdl.sources.ftp import FtpTransport
from mountdl.sources.http.patience import Patience
from tests.support.content import pattern
from tests.wire.test_ftp_servers import fetched, mirror

DATA = pattern(300_000)
CALM = Patience(connect=20, head=20, silence=20)
SHORT = Patience(connect=1.5, head=1.5, silence=1.5)


@dataclass
class Script:
    """A server for one file. *answers* override what it says to a verb; a data connection sends *sent* from REST on."""

    answers: dict[str, str] = field(default_factory=dict)
    sent: bytes = DATA
    cut: int | None = None
    last: str = "226 done"
    greeting: str = "220-Hello\r\n220-there\r\n220 now"
    slow: float = 0.0
    ignores_rest: bool = False
    port: int = 0
    heard: list[str] = field(default_factory=list)
    listeners: list[trio.SocketListener] = field(default_factory=list)

    async def handle(self, stream: trio.SocketStream) -> None:
        try:
            await self._talk(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            for listener in self.listeners:
                listener.socket.close()

    async def _talk(self, stream: trio.SocketStream) -> None:
        await trio.sleep(self.slow)
        await stream.send_all(self.greeting.encode() + b"\r\n")
        start, stop, buffer = 0, len(self.sent), b""
        listener: trio.SocketListener | None = None
        while True:
            while b"\r\n" not in buffer:
                more = await stream.receive_some()
                if not more:
                    return
                buffer += more
            line, _, buffer = buffer.partition(b"\r\n")
            text = line.decode()
            verb, _, argument = text.partition(" ")
            self.heard.append(text)
            answer = self.answers.get(verb)
            if verb in {"EPSV", "PASV"} and (answer is None or "%" in answer):
                (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
                self.listeners.append(listener)
                port = listener.socket.getsockname()[1]
                default = "229 (|||%d|)" if verb == "EPSV" else "227 (127,0,0,1,%h,%l)"
                answer = (answer or default).replace("%d", str(port))
                answer = answer.replace("%h", str(port // 256)).replace("%l", str(port % 256))
            if verb == "REST" and answer is None:
                start = 0 if self.ignores_rest else int(argument)
            if verb == "RANG" and answer is None:
                first, last = map(int, argument.split())
                start, stop = first, last + 1
            if answer is not None or verb != "RETR":
                usual = {
                    "RANG": "350 go",
                    "SIZE": f"213 {len(DATA)}",
                    "REST": "350 go",
                    "USER": "331 who",
                    "PASS": "230 in",
                }
                await stream.send_all((answer or usual.get(verb, "200 yes")).encode() + b"\r\n")
                if answer is not None and answer.startswith("421"):
                    return
                continue
            assert listener is not None
            await stream.send_all(b"150 here\r\n")
            body = self.sent[start:stop]
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async with await listener.accept() as data:
                    listener.socket.close()
                    await data.send_all(body[: self.cut])
            start, stop = 0, len(self.sent)
            if self.last == "hang up":
                return
            await stream.send_all(self.last.encode() + b"\r\n")


@asynccontextmanager
async def playing(script: Script) -> AsyncIterator[FtpTransport]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, script.handle, 0)
        script.port = listeners[0].socket.getsockname()[1]
        transport = FtpTransport(HttpSettings(), SHORT if script.slow else CALM)
        await nursery.start(transport.run)
        yield transport
        nursery.cancel_scope.cancel()


async def got(script: Script, start: int = 0, stop: int = len(DATA)) -> bytes:
    async with playing(script) as transport:
        source = mirror(transport, f"ftp://127.0.0.1:{script.port}/f", len(DATA))
        return await fetched(source, start, stop)


FAULTS: list[tuple[str, Script, type[SourceError], str]] = [
    ("wrong size", Script({"SIZE": "213 299999"}), SourceMismatch, "has 299999 bytes, not 300000"),
    ("gone", Script({"RETR": "550 no such file"}), SourceRefused, "550"),
    ("426", Script(cut=100_000, last="426 aborted"), SourceUnavailable, "200000 bytes early: 426"),
    ("killed", Script(cut=100_000, last="hang up"), SourceUnavailable, "200000 bytes early"),
    ("ends in the middle, and says that is all", Script(cut=100_000), SourceMismatch, "200000 bytes early"),
    ("text for bytes", Script(sent=DATA.replace(b"\n", b"\r\n")), SourceMismatch, "sends more"),
    ("refuses binary", Script({"TYPE": "504 no"}), SourceRefused, "TYPE|as they are"),
    ("522", Script({"RETR": "522 session reuse required"}), SourceUnavailable, "522"),
    ("425", Script({"RETR": "425 can't open data connection"}), SourceUnavailable, "425"),
    ("421 at the door", Script(greeting="421 too many"), SourceUnavailable, "too many connections: 421"),
    ("421 at login", Script({"PASS": "421 too many"}), SourceUnavailable, "421"),
    ("530 for too many", Script({"PASS": "530 maximum number of clients"}), SourceUnavailable, "530"),
    ("530", Script({"PASS": "530 no"}), SourceRefused, "login is refused: 530"),
    ("an account", Script({"PASS": "332 account"}), SourceRefused, "account"),
    ("slow greeting", Script(slow=30), SourceUnavailable, "no greeting within 1.5 s"),
    ("no FTP", Script(greeting="SSH-2.0-OpenSSH"), SourceUnavailable, "does not speak FTP"),
    ("a line without end", Script(greeting="2" * 9000), SourceUnavailable, "does not end"),
    ("no data port", Script({"EPSV": "500 what", "PASV": "500 what"}), SourceUnavailable, "no port for data"),
]


@pytest.mark.parametrize(("script", "error", "words"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
async def test_a_fault_has_its_outcome(script: Script, error: type[SourceError], words: str) -> None:
    """Each fault is the error that makes the engine do the right thing, in words for the user."""
    with pytest.RaisesGroup(pytest.RaisesExc(error, match=words), flatten_subgroups=True):
        await got(script)
    assert not [line for line in script.heard if line.startswith("ABOR")]


async def test_pasv_that_names_another_host() -> None:
    """Where EPSV is not known, PASV's port is used on the server's own address, whatever address it names."""
    script = Script({"EPSV": "500 what", "PASV": "227 (10,1,2,3,%h,%l)"})
    assert await got(script) == DATA


async def test_epsv_that_leads_nowhere() -> None:
    """An EPSV port that nobody listens on is tried once; PASV is asked then."""
    assert await got(Script({"EPSV": "229 (|||1|)"})) == DATA


async def test_rest_is_refused() -> None:
    """A server without REST is a sequential source: it serves from the start, not from anywhere."""
    script = Script({"REST": "502 no"})
    async with playing(script) as transport:
        source = mirror(transport, f"ftp://127.0.0.1:{script.port}/f", len(DATA))
        with pytest.raises(SourceUnavailable, match="whole files only"):
            await fetched(source, 290_000, 290_010)
        assert source.limits.sequential
        assert await fetched(source, 0, 1000) == DATA[:1000]
        assert await fetched(source, 2000, 3000) == DATA[2000:3000]


async def test_rest_is_ignored() -> None:
    """A server that begins at 0 whatever it promised is found out where its file should end."""
    with pytest.RaisesGroup(pytest.RaisesExc(SourceMismatch, match="sends more"), flatten_subgroups=True):
        await got(Script(ignores_rest=True), 100_000)


async def test_a_transfer_goes_on() -> None:
    """Extents in a row come by one RETR."""
    script = Script()
    async with playing(script) as transport:
        source = mirror(transport, f"ftp://127.0.0.1:{script.port}/f", len(DATA))
        for start in range(0, len(DATA), 50_000):
            assert await fetched(source, start, start + 50_000) == DATA[start : start + 50_000]
    assert [line for line in script.heard if line.startswith("RETR")] == ["RETR f"]


_RANG = "211-Features\r\n RANG STREAM\r\n211 End"


async def test_rang_ends_a_transfer() -> None:
    """A server that knows RANG (draft-bryan-ftp-range) is told both ends, inclusive, and ends the transfer itself."""
    script = Script({"FEAT": _RANG})
    async with playing(script) as transport:
        source = mirror(transport, f"ftp://127.0.0.1:{script.port}/f", len(DATA))
        for start, stop in ((100, 200), (250_000, len(DATA)), (5, 6)):
            assert await fetched(source, start, stop) == DATA[start:stop]
        assert transport.logins == 1
    assert [line for line in script.heard if line.startswith(("RANG", "REST"))] == [
        "RANG 100 199",
        "RANG 250000 299999",
        "RANG 5 5",
    ]


async def test_rang_that_is_refused() -> None:
    """A server that announces RANG and refuses it gives no byte from elsewhere."""
    script = Script({"FEAT": _RANG, "RANG": "554 no"})
    with pytest.RaisesGroup(pytest.RaisesExc(SourceUnavailable, match="whole files only"), flatten_subgroups=True):
        await got(script, 100, 200)


async def test_the_next_port_is_asked_for_with_noop() -> None:
    """Once EPSV has worked it goes with NOOP, and each range takes one port."""
    script = Script()
    async with playing(script) as transport:
        source = mirror(transport, f"ftp://127.0.0.1:{script.port}/f", len(DATA))
        for start in (9, 290_000, 100_000):
            assert await fetched(source, start, start + 10) == DATA[start : start + 10]
    said = [line for line in script.heard if line.partition(" ")[0] in {"EPSV", "NOOP", "REST", "RETR"}]
    each = ["NOOP", "EPSV", "REST", "RETR f"]
    wanted = ["EPSV", "REST", "RETR f", *each, *each]
    assert [line if line.startswith("RETR") else line.partition(" ")[0] for line in said][: len(wanted)] == wanted


async def test_a_connection_that_is_reset_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that dies with a connection in its queue resets it: unavailable, and no socket is left open."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connected = socket.create_connection(server.getsockname())
    with pytest.raises(ConnectionResetError):
        connected.recv(1)

    async def dial(*_: object) -> socket.socket:
        return connected

    monkeypatch.setattr("mountdl.sources.ftp.opening.dial", dial)
    async with playing(Script()) as transport:
        with pytest.raises(SourceUnavailable, match="connection reset"):
            await fetched(mirror(transport, "ftp://127.0.0.1/f"), 0, 1)
    assert connected.fileno() == -1


async def test_nothing_is_said_for_an_address_with_line_breaks() -> None:
    """An address that would be two commands is refused before a connection is made."""
    script = Script()
    async with playing(script) as transport:
        for path in ("f%0D%0ADELE%20f", "f%00"):
            with pytest.raises(SourceRefused, match="line break"):
                await fetched(mirror(transport, f"ftp://127.0.0.1:{script.port}/{path}"), 0, 1)
        assert transport.logins == 0
    assert script.heard == []


async def test_words_before_tls_are_refused() -> None:
    """What was slipped in behind the answer to AUTH TLS never counts as said by the server within TLS."""
    script = Script({"AUTH": "234 go\r\n230 you are in"})
    async with playing(script) as transport:
        source = mirror(transport, f"ftps://127.0.0.1:{script.port}/f", len(DATA))
        with pytest.raises(SourceUnavailable, match="unprotected words"):
            await fetched(source, 0, 10)


async def test_ftps_never_goes_on_in_the_plain() -> None:
    """A server without TLS gets no login from an ftps address."""
    script = Script({"AUTH": "502 no"})
    async with playing(script) as transport:
        source = mirror(transport, f"ftps://u:p@127.0.0.1:{script.port}/f", len(DATA))
        with pytest.raises(SourceRefused, match="has no TLS: 502"):
            await fetched(source, 0, 10)
    assert not [line for line in script.heard if line.startswith(("USER", "PASS"))]
