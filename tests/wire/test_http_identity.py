"""Who we are at HTTP servers: logins, cookies, headers, client certificates; and that nobody else hears of it."""

from __future__ import annotations

import logging
import re
import sqlite3
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from hashlib import md5
from pathlib import Path

import pytest

from mountdl.errors import SourceRefused, SourceUnavailable, UsageError
from mountdl.settings import CredentialSettings, HttpSettings
from mountdl.sources.http import cookies
from tests.support import nginx
from tests.support.httpserver import Request, answer, computing, partial, serving
from tests.wire.http import CALM, CONTENT, fetched, http, mirror, needs_nginx, running

ME = CredentialSettings(http_user="me", http_password="hunter2")
REALM = 'WWW-Authenticate: Basic realm="x"'
RIGHT = "Basic bWU6aHVudGVyMg=="


def guarded(request: Request) -> bytes:
    if request.headers.get("authorization") != RIGHT:
        return answer("401 Who", REALM)
    return partial(request, CONTENT)


async def test_basic_is_said_when_asked_for_and_then_at_once() -> None:
    """One request more at the first answer, none later; a wrong password is asked about once."""
    async with serving(computing(guarded)) as server:
        async with running(patience=CALM, credentials=ME) as transport:
            for name in ("a", "a", "b"):
                assert await fetched(mirror(transport, f"{server.url}/{name}"), 0, 10) == CONTENT[:10]
        said = [request.headers.get("authorization") for request in server.requests]
        assert said == [None, RIGHT, RIGHT, RIGHT]
        wrong = CredentialSettings(http_user="me", http_password="hunter3")
        async with running(patience=CALM, credentials=wrong) as transport:
            with pytest.raises(SourceRefused, match="wants a user name"):
                await fetched(mirror(transport, f"{server.url}/a"), 0, 10)
        assert len(server.requests) == 6


def digested(request: Request, nonce: str, seen: set[str]) -> bytes:
    challenge = f'WWW-Authenticate: Digest realm="r", nonce="{nonce}", qop="auth", algorithm=MD5'
    given = dict(re.findall(r'(\w+)="?([^",]+)"?', request.headers.get("authorization", "")))
    first, second = md5(b"me:r:hunter2").hexdigest(), md5(f"GET:{request.path}".encode()).hexdigest()
    counted = ":".join((first, nonce, given.get("nc", ""), given.get("cnonce", ""), "auth", second))
    if given.get("response") != md5(counted.encode()).hexdigest() or given["nc"] + given["cnonce"] in seen:
        return answer("401 Who", challenge)
    seen.add(given["nc"] + given["cnonce"])
    return partial(request, CONTENT)


async def test_digest_is_counted_on() -> None:
    """A server that refuses replays is asked once for its nonce, and never told the password."""
    seen: set[str] = set()
    async with serving(computing(lambda request: digested(request, "n1", seen))) as server:
        async with running(patience=CALM, credentials=ME) as transport:
            source = mirror(transport, f"{server.url}/a")
            for _ in range(3):
                assert await fetched(source, 0, 10) == CONTENT[:10]
        assert len(server.requests) == 4
        assert len(seen) == 3
        assert all("Basic" not in request.headers.get("authorization", "") for request in server.requests)


async def test_logins_do_not_follow_redirects() -> None:
    """What options say is for the mirror; where it sends us may ask in vain, or find itself in .netrc."""
    async with serving(computing(guarded)) as elsewhere:
        away = computing(
            lambda request: (
                answer("302 Found", f"Location: {elsewhere.url}/a")
                if request.headers.get("authorization")
                else answer("401 Who", REALM)
            )
        )
        async with serving(away) as server, running(patience=CALM, credentials=ME) as transport:
            with pytest.raises(SourceRefused):
                await fetched(mirror(transport, f"{server.url}/a"), 0, 10)
        assert [request.headers.get("authorization") for request in elsewhere.requests] == [None]


async def test_netrc(tmp_path: Path) -> None:
    """The host's own entry is used, if the file is private."""
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login me password hunter2\n")
    path.chmod(0o600)
    async with serving(computing(guarded)) as server:
        async with running(patience=CALM, credentials=CredentialSettings(netrc_path=path)) as transport:
            assert await fetched(mirror(transport, f"{server.url}/a"), 0, 10) == CONTENT[:10]
        unused = CredentialSettings(netrc_path=path, use_netrc=False)
        async with running(patience=CALM, credentials=unused) as transport:
            with pytest.raises(SourceRefused):
                await fetched(mirror(transport, f"{server.url}/a"), 0, 10)


async def test_headers_stay_with_their_origin() -> None:
    """Own headers and the referrer go to the mirror, not to where it redirects; our name goes everywhere."""
    settings = HttpSettings(
        headers=(("X-Token", "hunter2"), ("Authorization", "Bearer hunter2"), ("Cookie", "c=hunter2")),
        referer="http://page.example/hunter2",
        user_agent="tester",
    )
    async with serving(computing(lambda r: partial(r, CONTENT))) as elsewhere:
        near = computing(lambda r: answer("302 Found", f"Location: {elsewhere.url}/b") if r.path == "/a" else b"")
        async with serving(near) as server, running(settings, CALM) as transport:
            source = mirror(transport, f"{server.url}/a")
            for _ in range(2):
                assert await fetched(source, 0, 10) == CONTENT[:10]
        told = server.requests[0].headers
        assert [told[name] for name in ("x-token", "authorization", "cookie")] == [
            "hunter2",
            "Bearer hunter2",
            "c=hunter2",
        ]
        assert told["referer"].endswith("hunter2")
        assert len(elsewhere.requests) == 2
        for request in elsewhere.requests:
            assert "hunter2" not in str(request.headers)
            assert request.headers["user-agent"] == "tester"


SOON = int(time.time()) + 86_400


def netscape(path: Path) -> None:
    lines = [
        "# Netscape HTTP Cookie File",
        f"127.0.0.1\tFALSE\t/\tFALSE\t{SOON}\tnear\thunter2",
        f"#HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t{SOON}\thidden\thunter3",
        "127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tx",
        "127.0.0.1\tFALSE\t/\tFALSE\t1\told\tx",
        f"127.0.0.1\tFALSE\t/\tTRUE\t{SOON}\tsecret\tx",
        f".other.example\tTRUE\t/\tFALSE\t{SOON}\tother\tx",
    ]
    path.write_text("\n".join(lines) + "\n")


def firefox(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE moz_cookies (host, path, isSecure, expiry, name, value)")
        rows = [("127.0.0.1", "/", 0, SOON, "near", "hunter2"), ("127.0.0.1", "/", 0, SOON * 1000, "hidden", "hunter3")]
        rows += [("127.0.0.1", "/", 0, 0, "session", "x"), (".other.example", "/", 0, SOON, "other", "x")]
        database.executemany("INSERT INTO moz_cookies VALUES (?, ?, ?, ?, ?, ?)", rows)


def chromium(path: Path) -> None:
    until = (SOON + 11_644_473_600) * 1_000_000
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE cookies (host_key, path, is_secure, expires_utc, name, value, encrypted_value)")
        rows = [("127.0.0.1", "/", 0, until, "near", "hunter2", b""), ("127.0.0.1", "/", 0, until, "v", "", b"v10")]
        rows += [("127.0.0.1", "/", 0, until, "hidden", "hunter3", b""), ("127.0.0.1", "/", 0, 0, "session", "x", b"")]
        database.executemany("INSERT INTO cookies VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


@pytest.mark.parametrize("write", [netscape, firefox, chromium])
async def test_cookies_of_browsers(
    write: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each kind of file gives the host's own cookies; encrypted ones are left out with a word; all can be saved."""
    write(tmp_path / "cookies")
    settings = HttpSettings(load_cookies=tmp_path / "cookies", save_cookies=tmp_path / "saved")

    def react(request: Request) -> bytes:
        return partial(request, CONTENT, "Set-Cookie: new=1; Max-Age=1000")

    async with serving(computing(react)) as server:
        async with running(settings, CALM) as transport:
            assert await fetched(mirror(transport, f"{server.url}/a"), 0, 10) == CONTENT[:10]
        assert {"near=hunter2", "hidden=hunter3", "session=x"} == set(server.requests[0].headers["cookie"].split("; "))
    assert ("encrypted" in caplog.text) == (write is chromium)
    assert "hunter" not in caplog.text
    caplog.clear()
    saved = {cookie.name for cookie in cookies.load(tmp_path / "saved")}
    assert {"near", "hidden", "session", "new"} <= saved
    assert (tmp_path / "saved").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("data", [b"<html>", b"SQLite format 3\0" + bytes(100), None])
def test_files_that_hold_no_cookies(data: bytes | None, tmp_path: Path) -> None:
    """The user is told at once."""
    if data is not None:
        (tmp_path / "cookies").write_bytes(data)
    with pytest.raises(UsageError, match="no cookies can be read"):
        http(HttpSettings(load_cookies=tmp_path / "cookies"))


@needs_nginx
async def test_client_certificates(tmp_path: Path) -> None:
    """A server that wants a certificate gets it; without it the source says what was missing."""
    made = nginx.certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.pem, made.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(made.authority)
    good = computing(lambda request: partial(request, CONTENT))
    async with serving(good, context) as server:
        settings = HttpSettings(ca_certificate=made.authority, certificate=made.pem, private_key=made.key)
        async with running(settings, CALM) as transport:
            assert await fetched(mirror(transport, server.url), 0, 10) == CONTENT[:10]


@needs_nginx
def test_certificates_that_can_not_be_used(tmp_path: Path) -> None:
    """A key that is missing, another's or locked is the user's to know, with what to do; nobody is asked for it."""
    made, other = nginx.certificate(tmp_path / "one"), nginx.certificate(tmp_path / "two")
    locked = tmp_path / "locked"
    subprocess.run(
        ["openssl", "pkey", "-aes256", "-in", made.key, "-out", locked, "-passout", "pass:hunter2"], check=True
    )
    for key in (tmp_path / "missing", other.key, locked, None):
        with pytest.raises(UsageError, match="openssl pkey"):
            http(HttpSettings(certificate=made.pem, private_key=key))
    with pytest.raises(UsageError, match="--certificate"):
        http(HttpSettings(private_key=made.key))


@needs_nginx
async def test_nginx_with_logins_and_certificates(tmp_path: Path) -> None:
    """The real thing: basic authentication, and a certificate that nginx verifies."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").write_bytes(CONTENT)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "users").write_text("me:{PLAIN}hunter2\n")
    with nginx.serving(tmp_path / "root", tmp_path / "home", guarded=True) as server:
        made = server.certificate
        settings = HttpSettings(ca_certificate=made.authority, certificate=made.pem, private_key=made.key)
        async with running(settings, CALM, credentials=ME) as transport:
            for url in (server.plain, server.tls):
                assert await fetched(mirror(transport, f"{url}/a"), 7, 4000) == CONTENT[7:4000]
        async with running(HttpSettings(ca_certificate=made.authority), CALM) as transport:
            with pytest.raises(SourceRefused, match="answered 401"):
                await fetched(mirror(transport, f"{server.plain}/a"), 0, 10)
            with pytest.raises((SourceRefused, SourceUnavailable), match="answered 400|certificate required"):
                await fetched(mirror(transport, f"{server.tls}/a"), 0, 10)


async def test_no_secret_in_logs_names_or_reasons(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever fails: of a login, a header or a cookie, nothing is written anywhere."""
    caplog.set_level(logging.DEBUG)
    settings = HttpSettings(headers=(("X-Token", "hunter2"),))
    credentials = CredentialSettings(http_user="hunter2", http_password="hunter2")
    told = [repr(settings), repr(credentials)]
    raws = [answer("401 Who", REALM), answer("403 No"), answer("500 hunter2"), b"hunter2\r\n\r\n", b""]
    for raw in [*raws, answer("302 Found", "Location: http://u:hunter2@127.0.0.1:1/?hunter2")]:
        async with serving(computing(lambda _, raw=raw: raw, close=True)) as server:  # type: ignore[misc]
            async with running(settings, CALM, credentials=credentials) as transport:
                source = mirror(transport, f"http://hunter2:hunter2@127.0.0.1:{server.port}/a?token=hunter2")
                with pytest.raises((SourceRefused, SourceUnavailable)) as caught:
                    await fetched(source, 0, 10)
                told += [source.name, str(caught.value), repr(caught.value)]
    assert "hunter2" not in "".join(told)
    assert "hunter2" not in caplog.text
