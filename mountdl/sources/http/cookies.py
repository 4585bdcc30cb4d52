"""Cookies of browsers: Netscape's text, the databases of Firefox and Chromium; written back as text.

A database is opened as if nobody else could write it, so that a running browser is not disturbed; what that keeps
in its journal is not seen. No cookie's name or value reaches a log.
"""

import logging
import os
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from http.cookiejar import Cookie, CookieJar
from pathlib import Path
from urllib.parse import quote

from mountdl.errors import ExitStatus, UsageError

log = logging.getLogger(__name__)

_SQLITE = b"SQLite format 3\0"
_MOST = 50_000
_LONGEST = 64 << 20
_HTTP_ONLY = "#HttpOnly_"
# Seconds from Chromium's epoch, 1601, to that of Unix.
_CHROMIUM_EPOCH = 11_644_473_600
_FIREFOX = "SELECT host, path, isSecure, expiry, name, value FROM moz_cookies LIMIT ?"
_CHROMIUM = "SELECT host_key, path, is_secure, expires_utc, name, value, length(encrypted_value) FROM cookies LIMIT ?"


def load(path: Path) -> list[Cookie]:
    """Return the cookies in *path* that have not expired. Raises UsageError when it holds none that can be read."""
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST)
    except OSError as error:
        raise UsageError(f"{path}: no cookies can be read: {error.strerror}", ExitStatus.IO) from error
    found = _of_database(path) if data.startswith(_SQLITE) else _of_text(data.decode("utf-8", "replace"), path)
    now = time.time()
    return [cookie for cookie in found if cookie.expires is None or cookie.expires > now]


def _of_text(text: str, path: Path) -> list[Cookie]:
    found, odd = [], 0
    for raw in text.splitlines()[:_MOST]:
        line = raw.removeprefix(_HTTP_ONLY)
        fields = line.split("\t")
        if not line.strip() or line.startswith("#"):
            continue
        if len(fields) != 7 or not fields[4].lstrip("-").isdigit():
            odd += 1
            continue
        domain, _, where, secure, expires, name, value = fields
        found.append(_cookie(domain, where, secure.upper() == "TRUE", int(expires), (name, value)))
    if odd and not found:
        raise UsageError(f"{path}: no cookies can be read: neither Netscape's text nor a browser's database")
    if odd:
        log.warning("%s: %d lines are no cookies", path, odd)
    return found


def _of_database(path: Path) -> list[Cookie]:
    import sqlite3

    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as database:
            database.text_factory = lambda raw: raw.decode("utf-8", "replace")
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "moz_cookies" in tables:
                return [_firefox(row) for row in database.execute(_FIREFOX, (_MOST,))]
            if "cookies" in tables:
                return _chromium(list(database.execute(_CHROMIUM, (_MOST,))), path)
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise UsageError(f"{path}: no cookies can be read from this database") from error
    raise UsageError(f"{path}: this database has no cookies of Firefox or Chromium")


def _firefox(row: tuple[str, str, int, int, str, str]) -> Cookie:
    host, path, secure, expiry, name, value = row
    # Newer ones count milliseconds.
    return _cookie(host, path, bool(secure), expiry // 1000 if expiry > 1 << 36 else expiry, (name, value))


def _chromium(rows: list[tuple[str, str, int, int, str, str, int | None]], path: Path) -> list[Cookie]:
    found, encrypted = [], 0
    for host, where, secure, expires, name, value, hidden in rows:
        if hidden and not value:
            encrypted += 1
            continue
        until = expires // 1_000_000 - _CHROMIUM_EPOCH if expires else 0
        found.append(_cookie(host, where, bool(secure), until, (name, value)))
    if encrypted:
        log.warning("%s: %d cookies are encrypted and left out; export them as text to use them", path, encrypted)
    return found


def _cookie(domain: str, path: str, secure: bool, expires: int, pair: tuple[str, str]) -> Cookie:
    name, value = pair
    return Cookie(
        version=0,
        name=name,
        value=value,
        port=None,
        port_specified=False,
        domain=domain,
        domain_specified=domain.startswith("."),
        domain_initial_dot=domain.startswith("."),
        path=path or "/",
        path_specified=True,
        secure=secure,
        expires=expires if expires > 0 else None,
        discard=expires <= 0,
        comment=None,
        comment_url=None,
        rest={},
    )


def save(path: Path, jar: CookieJar) -> None:
    """Write *jar* to *path*, which only its owner can read then; a failure is logged."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write("# Netscape HTTP Cookie File\n")
                file.writelines(_lines(jar))
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        log.warning("%s: the cookies can't be saved: %s", path, error.strerror)


def _lines(jar: Iterable[Cookie]) -> Iterable[str]:
    for cookie in jar:
        fields = (
            cookie.domain,
            "TRUE" if cookie.domain.startswith(".") else "FALSE",
            cookie.path,
            "TRUE" if cookie.secure else "FALSE",
            str(cookie.expires or 0),
            cookie.name,
            cookie.value or "",
        )
        if not any(character in text for text in fields for character in "\t\r\n"):
            yield "\t".join(fields) + "\n"
