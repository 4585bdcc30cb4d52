"""An sftp URL as what SSH needs to know of it. Pure.

Law: what `Address.shown` gives holds no user name and no password, and stays percent-encoded.
"""

from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_to_bytes, urlsplit


@dataclass(frozen=True, slots=True)
class Place:
    """Whom to connect to, as whom: what connections are shared by. None: as ssh's configuration says."""

    host: str
    port: int | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port or 22}"


@dataclass(frozen=True, slots=True)
class Address:
    """A *path*, in bytes as the server has them, at a *place*; *shown* may be shown."""

    place: Place
    path: bytes
    shown: str


def parse(url: str) -> Address | None:
    """Return what *url* leads to; None where it is no sftp URL that can be used.

    A path that begins with `/~/` is below the home of the user on the server, any other is absolute.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    path = unquote_to_bytes(parts.path)
    if parts.scheme.lower() != "sftp" or not host or path in {b"", b"/"} or b"\0" in path:
        return None
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    authority = parts.netloc.rpartition("@")[2]
    shown = f"sftp://{authority}{parts.path}"
    return Address(Place(host, port, user, password), path[3:] if path.startswith(b"/~/") else path, shown)
