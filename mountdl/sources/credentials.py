"""Who we are at a server: user names and passwords from URLs, options and `.netrc`.

Law: what stands in a URL is for its host alone, what `.netrc` says for the host it names, and what options say
only for addresses that the user or a descriptor named, never for where a redirect led. Knows no protocol.
"""

import base64
import logging
import os
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mountdl.settings import CredentialSettings

log = logging.getLogger(__name__)

LONGEST_NETRC = 1 << 20
"""Bytes of a `.netrc` that are read at most."""
_ANY = ""


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and a password, which no text shows."""

    user: str
    password: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """What says it in an Authorization, or a Proxy-Authorization, of the scheme Basic (RFC 7617)."""
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


def from_url(url: str) -> Login | None:
    """Return what stands before the host in *url*, decoded; None when nothing does."""
    try:
        before, at, _ = urlsplit(url).netloc.rpartition("@")
    except ValueError:
        return None
    if not at:
        return None
    user, _, password = before.partition(":")
    return Login(unquote(user), unquote(password))


def netrc(text: str) -> dict[str, Login]:
    """Return the logins in a `.netrc`'s text by host in lower case, the default's under "". Macros are left out."""
    logins: dict[str, Login] = {}
    host: str | None = None
    said: dict[str, str] = {}

    def keep() -> None:
        if host is not None and ("login" in said or "password" in said):
            logins.setdefault(host, Login(said.get("login", ""), said.get("password", "")))

    words = iter(_words(text))
    for word in words:
        if word in {"machine", "default"}:
            keep()
            host, said = _ANY if word == "default" else next(words, "").lower(), {}
        elif word in {"login", "password", "account"}:
            said[word] = next(words, "")
    keep()
    return logins


def _words(text: str) -> list[str]:
    words: list[str] = []
    macro = False
    for line in text.splitlines():
        # A macro ends at an empty line.
        macro = macro and bool(line.strip())
        if macro or line.lstrip().startswith("#"):
            continue
        if line.split()[:1] == ["macdef"]:
            macro = True
            continue
        words += _split(line)
    return words


def _split(line: str) -> list[str]:
    reader = shlex.shlex(line, posix=True)
    reader.whitespace_split = True
    reader.commenters = ""  # a password may have "#" in it
    reader.quotes = '"'
    try:
        return list(reader)
    except ValueError:
        return line.split()


EXPOSED = "others can read or write it; chmod 600 mends that"


def exposed(about: os.stat_result) -> bool:
    """Say whether others than its owner can get at a file of passwords, or it is somebody else's."""
    return bool(about.st_mode & 0o077) or about.st_uid not in {os.geteuid(), 0}


def read_netrc(path: Path) -> dict[str, Login]:
    """Return the logins in the file *path*; none, with a warning that says what to do, where others can read it."""
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                return {}
            if exposed(about):
                log.warning("%s is not used: %s", path, EXPOSED)
                return {}
            return netrc(file.read(LONGEST_NETRC).decode("utf-8", "replace"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("%s is not used: %s", path, error.strerror)
        return {}


class Credentials:
    """Looks up logins. The `.netrc` is read once, when it is first needed."""

    def __init__(self, settings: CredentialSettings) -> None:
        self._settings = settings
        self._netrc: Mapping[str, Login] | None = None

    def login(self, url: str, *, redirected: bool = False) -> Login | None:
        """Return who we are at *url*: as the URL says, else the options, else `.netrc`; None when nothing does.

        With *redirected*, a server sent us there: what options say is not for it. A URL with a user name only
        takes the password of `.netrc`, if that is for the same user.
        """
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        own = from_url(url)
        if own is not None and (own.password or not own.user):
            return own
        if own is None and not redirected:
            option = self._option(parts.scheme.lower())
            if option is not None:
                return option
        found = self._of_host(host)
        if own is None:
            return found
        return found if found is not None and found.user == own.user else own

    def _option(self, scheme: str) -> Login | None:
        settings = self._settings
        if scheme in {"http", "https"} and settings.http_user is not None:
            return Login(settings.http_user, settings.http_password or "")
        if scheme in {"ftp", "ftps", "ftpes"} and settings.ftp_user is not None:
            return Login(settings.ftp_user, settings.ftp_password or "")
        return None

    def _of_host(self, host: str) -> Login | None:
        if self._netrc is None:
            path = self._settings.netrc_path
            self._netrc = read_netrc(path) if path is not None and self._settings.use_netrc else {}
        return self._netrc.get(host, self._netrc.get(_ANY))
