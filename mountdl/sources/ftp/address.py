"""FTP addresses: who is asked for what, and as whom. Pure.

Law: an address whose decoded parts hold CR, LF or NUL is none. `ftps` without a port, or with 990, is TLS from the
first byte; with another port either kind may answer.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urlsplit

from mountdl.sources.credentials import Login as Credential

_TYPE = re.compile(r";type=[a-z]\Z", re.IGNORECASE)
_FORBIDDEN = re.compile(rb"[\r\n\0]")


class AddressRefused(Exception):
    """Not an FTP address that can be used; the text says why and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Login:
    """One server, and whom we are there: what connections are shared by. *port* is 0 where the scheme's applies."""

    tls: bool
    host: str
    port: int
    user: bytes = b"anonymous"
    password: bytes = field(default=b"anonymous@", repr=False)

    @property
    def shown(self) -> str:
        """The server as limits and messages call it."""
        port = self.port or (990 if self.tls else 21)
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"


@dataclass(frozen=True, slots=True)
class Place:
    """A file on a server: *path* is as RETR takes it, relative to where the login leads (RFC 1738 section 3.2.2)."""

    login: Login
    path: bytes
    name: str


def place_of(url: str, known: Callable[[str], Credential | None]) -> Place:
    """Return what *url* leads to, as whom *known* says for it, else as anybody. Raises AddressRefused."""
    try:
        parts = urlsplit(url)
        port, host = parts.port or 0, parts.hostname
    except ValueError as error:
        raise AddressRefused("is no address") from error
    if parts.scheme not in {"ftp", "ftps"} or not host:
        raise AddressRefused("is not an ftp address")
    path = _decoded(_TYPE.sub("", url_path(parts.path, parts.query))[1:])
    if not path or path.endswith(b"/"):
        raise AddressRefused("names no file")
    login = Login(parts.scheme == "ftps", host, port)
    credential = known(url)
    if credential is not None and credential.user:
        user, password = _encoded(credential.user), _encoded(credential.password)
        login = Login(login.tls, host, port, user, password)
    return Place(login, path, shown(url))


def url_path(path: str, query: str) -> str:
    """Return the path of an FTP URL: in it a question mark is a character like others."""
    return f"{path}?{query}" if query else path


def shown(url: str) -> str:
    """Return *url* without user and password, for people."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "not an ftp address"
    text = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{url_path(parts.path, parts.query)}"
    return "".join(c if c.isprintable() else "?" for c in text)


def _decoded(text: str) -> bytes:
    return _clean(unquote_to_bytes(text))


def _encoded(text: str) -> bytes:
    return _clean(text.encode("utf-8", "surrogateescape"))


def _clean(decoded: bytes) -> bytes:
    if _FORBIDDEN.search(decoded):
        raise AddressRefused("has a line break or NUL in its address")
    return decoded
