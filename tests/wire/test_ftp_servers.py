"""FTP against real servers: vsftpd (plain, TLS, IPv6), ProFTPD (plain, TLS) and pyftpdlib."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from mountdl.content import Content, ContentKey
from mountdl.descriptors.model import MirrorRef
from mountdl.errors import SourceError, SourceMismatch, SourceRefused, SourceUnavailable
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority
from mountdl.settings import CredentialSettings, HttpSettings, ProxySettings
from mountdl.sources.ftp import FtpTransport
from mountdl.sources.ftp.mirror import Mirror
from mountdl.sources.http.patience import Patience
from tests.support import ftpservers, nginx, proxies
from tests.support.content import pattern
from tests.support.fakes import MemorySink
from tests.support.ports import free_port

DATA = pattern(3_000_017)
PATIENCE = Patience(connect=20, head=20, silence=20)
KINDS = ["vsftpd", "vsftpd explicit", "vsftpd implicit", "vsftpd ipv6", "pyftpdlib", "pyftpdlib tls", "proftpd",
         "proftpd explicit", "proftpd implicit"]  # fmt: skip
_PROFTPD = ["proftpd-core", "proftpd-mod-crypto"]
_BESIDE = ("libhashkit", "libhiredis", "libmemcached")
"""Libraries of these that else nothing needs; each release has another version in their names."""
needs_vsftpd = pytest.mark.skipif(bool(ftpservers.vsftpd_missing()), reason=ftpservers.vsftpd_missing())


@pytest.fixture
def home() -> Iterator[Path]:
    with ftpservers.folder() as path:
        (path / "root" / "a b").mkdir()
        (path / "root" / "a b" / "file.bin").write_bytes(DATA)
        yield path


@pytest.fixture(scope="session")
def packed_proftpd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack Debian's ProFTPD, which can't be installed beside vsftpd."""
    packed = tmp_path_factory.mktemp("proftpd")
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if os.geteuid() != 0 or not apt or not dpkg:
        pytest.skip("ProFTPD needs root and Debian's tools")
    try:
        said = subprocess.run(
            ["apt-cache", "depends", "--recurse", "--important", *_PROFTPD],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        named = (line.strip().removeprefix("Depends: ") for line in said.stdout.splitlines())
        beside = sorted({name for name in named if name.startswith(_BESIDE)})
        subprocess.run([apt, "download", *_PROFTPD, *beside], cwd=packed, check=True, capture_output=True, timeout=60)
        for package in packed.glob("*.deb"):
            subprocess.run([dpkg, "-x", str(package), str(packed)], check=True, capture_output=True, timeout=60)
        probe = [str(packed / "usr/sbin/proftpd"), "-v"]
        environment = os.environ | {"LD_LIBRARY_PATH": ftpservers.libraries(packed)}
        subprocess.run(probe, check=True, capture_output=True, timeout=20, env=environment)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"ProFTPD can't be had: {error}")
    packed.chmod(0o755)
    return packed


def started(stack: ExitStack, kind: str, home: Path, request: pytest.FixtureRequest) -> tuple[str, HttpSettings]:
    """Start a server of *kind*; return where it serves the file, and the settings to reach it."""
    name, _, manner = kind.partition(" ")
    if name == "vsftpd":
        if missing := ftpservers.vsftpd_missing():
            pytest.skip(missing)
        tls = "" if manner == "ipv6" else manner
        server = stack.enter_context(ftpservers.vsftpd(home, tls, ipv6=manner == "ipv6"))
    elif name == "proftpd":
        server = stack.enter_context(ftpservers.proftpd(home, request.getfixturevalue("packed_proftpd"), manner))
    else:
        made = nginx.certificate(home / "home") if manner else None
        server = stack.enter_context(ftpservers.pyftpdlib(home / "root", made))
    scheme = "ftps" if server.authority else "ftp"
    host = "[::1]" if manner == "ipv6" else "127.0.0.1"
    settings = HttpSettings(ca_certificate=server.authority)
    return f"{scheme}://{host}:{server.port}/a%20b/file.bin", settings


def mirror(transport: FtpTransport, url: str, size: int = len(DATA)) -> Mirror:
    return transport.source(MirrorRef(url), Content(ContentKey("k"), size, {}, ChunkMap(size, 1 << 20)))


@asynccontextmanager
async def running(
    settings: HttpSettings | None = None,
    patience: Patience = PATIENCE,
    through: ProxySettings | None = None,
    known: CredentialSettings | None = None,
) -> AsyncIterator[FtpTransport]:
    transport = FtpTransport(settings or HttpSettings(), patience, through, known)
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        yield transport
        nursery.cancel_scope.cancel()


async def fetched(source: Mirror, start: int, stop: int, priority: Priority = Priority.READ) -> bytes:
    sink = MemorySink(len(DATA))
    await source.fetch(Extent(start, stop), sink, priority=priority)
    return bytes(sink.data[start:stop])


@pytest.mark.parametrize("kind", KINDS)
async def test_extents_of_a_real_server(kind: str, home: Path, request: pytest.FixtureRequest) -> None:
    """The whole, extents in order and extents anywhere are the file's bytes, by one login."""
    with ExitStack() as stack:
        url, settings = started(stack, kind, home, request)
        async with running(settings) as transport:
            source = mirror(transport, url)
            probe = await transport.probe(MirrorRef(url))
            assert probe.size == len(DATA)
            assert await fetched(source, 0, len(DATA)) == DATA
            for start in range(0, len(DATA), 500_000):
                stop = min(start + 500_000, len(DATA))
                assert await fetched(source, start, stop) == DATA[start:stop]
            chance = random.Random(1)  # noqa: S311
            for _ in range(20):
                start = chance.randrange(len(DATA) - 1)
                stop = min(len(DATA), start + chance.choice([1, 70_000, 1 << 20]))
                assert await fetched(source, start, stop) == DATA[start:stop]
            # By TLS, ProFTPD 1.3.8 at times sends on to the end of the file whatever RANG said, and where that is cut
            # off it at times ends the session: one run of ten has a second login, none of 120 more.
            assert transport.logins <= (5 if kind.startswith("proftpd ") else 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_missing_file_is_refused(kind: str, home: Path, request: pytest.FixtureRequest) -> None:
    """A file that is not there drops the mirror with the server's words; the session goes on."""
    with ExitStack() as stack:
        url, settings = started(stack, kind, home, request)
        async with running(settings) as transport:
            with pytest.raises(SourceRefused, match="550"):
                await fetched(mirror(transport, url + ".gone"), 0, 10)
            with pytest.raises(SourceRefused, match="does not tell the size of the file: 550"):
                await transport.probe(MirrorRef(url + ".gone"))
            assert await fetched(mirror(transport, url), 5, 10) == DATA[5:10]


@needs_vsftpd
async def test_another_size_is_a_mismatch(home: Path) -> None:
    """A file of another size is not the content, and no byte of it is taken."""
    with ftpservers.vsftpd(home) as server:
        async with running() as transport:
            source = mirror(transport, f"ftp://127.0.0.1:{server.port}/a%20b/file.bin", len(DATA) - 1)
            with pytest.raises(SourceMismatch, match="has 3000017 bytes, not 3000016"):
                await fetched(source, 0, 10)


@needs_vsftpd
async def test_plain_ftp_becomes_tls_where_that_is_demanded(home: Path) -> None:
    """A server that admits nobody without TLS is met with TLS; who is not trusted stays out."""
    with ftpservers.vsftpd(home, "explicit") as server:
        url = f"ftp://127.0.0.1:{server.port}/a%20b/file.bin"
        async with running(HttpSettings(ca_certificate=server.authority)) as transport:
            assert await fetched(mirror(transport, url), 7, 17) == DATA[7:17]
        async with running() as transport:
            with pytest.raises(SourceRefused, match="certificate is not trusted"):
                await fetched(mirror(transport, url), 7, 17)


async def test_a_user_with_password(home: Path) -> None:
    """User and password of the URL log in; a wrong one is refused, and neither is shown."""
    with ftpservers.pyftpdlib(home / "root", user="us er", password="s:e@cret") as server:
        async with running() as transport:
            place = f"127.0.0.1:{server.port}/a%20b/file.bin"
            source = mirror(transport, f"ftp://us%20er:s%3Ae%40cret@{place}")
            assert await fetched(source, 0, 10) == DATA[:10]
            assert source.name == f"ftp://{place}"
            with pytest.raises(SourceRefused, match="login is refused: 530$") as caught:
                await fetched(mirror(transport, f"ftp://us%20er:s%3Awrong@{place}"), 0, 10)
            assert "wrong" not in str(caught.value)
            assert "us er" not in str(caught.value)


@needs_vsftpd
async def test_a_421_lowers_the_limit(home: Path) -> None:
    """A server that bears two connections from us gets two; the third fetch is told to wait."""
    # So slow that no transfer ends before all have begun.
    with ftpservers.vsftpd(home, most=2, rate=300_000) as server:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
        async with running() as transport:
            source = mirror(transport, f"ftp://127.0.0.1:{server.port}/a%20b/file.bin")
            assert source.limits.parallel == 8
            assert await fetched(source, 5, 6) == DATA[5:6]
            with trio.fail_after(50):
                while len(children.read_text().split()) > 1:  # whoever looked whether the port is open
                    await trio.sleep(0.01)
            failures: list[SourceError] = []

            async def one(start: int) -> None:
                try:
                    assert await fetched(source, start, start + 900_000) == DATA[start : start + 900_000]
                except SourceUnavailable as error:
                    failures.append(error)

            async with trio.open_nursery() as nursery:
                for start in (0, 900_000, 1_800_000):
                    nursery.start_soon(one, start)
            assert [error.reason[:25] for error in failures] == ["too many connections: 421"]
            assert source.limits.parallel == 2


@needs_vsftpd
async def test_a_server_that_is_killed_and_back(home: Path) -> None:
    """Killed: unavailable, soon. Back on the same port: the next fetch works, by a new login."""
    port = free_port()
    async with running() as transport:
        source = mirror(transport, f"ftp://127.0.0.1:{port}/a%20b/file.bin")
        with ftpservers.vsftpd(home, port=port) as server:
            assert await fetched(source, 0, 10) == DATA[:10]
            os.killpg(server.pid, signal.SIGKILL)
            with pytest.raises(SourceUnavailable, match="connection (refused|reset)|closed the connection"):
                await fetched(source, 2_000_000, 2_000_010)
        before = transport.logins
        with ftpservers.vsftpd(home, port=port):
            assert await fetched(source, 2_000_000, 2_000_010) == DATA[2_000_000:2_000_010]
            assert transport.logins == before + 1


@needs_vsftpd
async def test_a_server_that_is_stopped(home: Path) -> None:
    """Stopped in the middle of a transfer or between two: unavailable as soon as patience ends."""
    size = 32 << 20  # more than the kernel holds for us, however long it takes to stop them all
    os.truncate(home / "root" / "a b" / "file.bin", size)
    with ftpservers.vsftpd(home, rate=1 << 20) as server:
        async with running(patience=Patience(connect=1.5, head=1.5, silence=1.5)) as transport:
            source = mirror(transport, f"ftp://127.0.0.1:{server.port}/a%20b/file.bin", size)
            await until_it_answers(source)
            pids = [server.pid, *ftpservers.below(server.pid)]
            for pid in pids:
                with suppress(ProcessLookupError):  # who looked whether the port is open may have gone by now
                    os.kill(pid, signal.SIGSTOP)
            try:
                for start in (10, 2_000_000):
                    with trio.fail_after(50), pytest.raises(SourceUnavailable, match=r"silent|within 1\.5 s"):
                        await source.fetch(Extent(start, size), MemorySink(size), priority=Priority.READ)
            finally:
                for pid in pids:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)


async def until_it_answers(source: Mirror) -> None:
    """Leave a transfer of *source* that goes on; on a busy machine a server may be silent for longer than it may be."""
    with trio.fail_after(100):
        while True:
            with suppress(SourceUnavailable):
                assert await fetched(source, 0, 10) == DATA[:10]
                return


@needs_vsftpd
@pytest.mark.parametrize("kind", ["squid", "tinyproxy", "microsocks"])
@pytest.mark.parametrize("login", [False, True], ids=["anybody", "login"])
async def test_through_a_proxy(kind: str, login: bool, home: Path, tmp_path: Path) -> None:
    """CONNECT and SOCKS5 carry control and data connections; extents anywhere are right, ftps too."""
    if not proxies.available(kind):
        pytest.skip(f"{kind} is not installed")
    with ExitStack() as stack:
        port = stack.enter_context(getattr(proxies, kind)(tmp_path / "proxy", login=login))
        scheme, who = "socks5" if kind == "microsocks" else "http", "me:hunter2@" if login else ""
        through = ProxySettings(ftp=f"{scheme}://{who}127.0.0.1:{port}")
        for tls in ("", "implicit"):
            server = stack.enter_context(ftpservers.vsftpd(home, tls))
            async with running(HttpSettings(ca_certificate=server.authority), through=through) as transport:
                source = mirror(transport, f"ftp{'s' if tls else ''}://127.0.0.1:{server.port}/a%20b/file.bin")
                assert await fetched(source, 0, len(DATA)) == DATA
                for start in (7, 2_900_000, 1_000_000):
                    assert await fetched(source, start, start + 70_000) == DATA[start : start + 70_000]


@needs_vsftpd
async def test_a_proxy_that_is_not_there(home: Path) -> None:
    """Where the proxy is down, nobody is asked directly."""
    with ftpservers.vsftpd(home) as server:
        dead = ProxySettings(ftp=f"http://me:hunter2@127.0.0.1:{free_port()}")
        async with running(through=dead) as transport:
            source = mirror(transport, f"ftp://127.0.0.1:{server.port}/a%20b/file.bin")
            with pytest.raises(SourceUnavailable, match="proxy can't be reached") as caught:
                await fetched(source, 0, 10)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("by", ["options", "netrc"])
async def test_who_we_are_where_the_url_does_not_say(by: str, home: Path, tmp_path: Path) -> None:
    """--ftp-user and --ftp-passwd, or the host's line in .netrc, log in; what the URL says goes before them."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cret\n")
    netrc.chmod(0o600)
    known = CredentialSettings(ftp_user="me", ftp_password="s3cret", use_netrc=False)
    if by == "netrc":
        known = CredentialSettings(netrc_path=netrc)
    with ftpservers.pyftpdlib(home / "root", user="me", password="s3cret") as server:
        place = f"127.0.0.1:{server.port}/a%20b/file.bin"
        async with running(known=known) as transport:
            assert await fetched(mirror(transport, f"ftp://{place}"), 3, 13) == DATA[3:13]
            with pytest.raises(SourceRefused, match="login is refused"):
                await fetched(mirror(transport, f"ftp://other:one@{place}"), 3, 13)


@needs_vsftpd
async def test_cancelling_leaves_a_session_that_works(home: Path) -> None:
    """A fetch that is cancelled in the middle costs no login: its data connection is closed, the next one opened."""
    with ftpservers.vsftpd(home) as server:
        async with running() as transport:
            source = mirror(transport, f"ftp://127.0.0.1:{server.port}/a%20b/file.bin")

            class Stopping(MemorySink):
                def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
                    super().write(offset, data)
                    if offset > 100_000:
                        scope.cancel()

            with trio.CancelScope() as scope:
                await source.fetch(Extent(0, len(DATA)), Stopping(len(DATA)), priority=Priority.BACKGROUND)
            assert scope.cancelled_caught
            assert await fetched(source, 50_000, 50_100) == DATA[50_000:50_100]
            assert transport.logins == 1
