"""One SSH connection, made as `ssh` would make it: its configuration, keys, agent, jump hosts, known hosts.

Law: the host key is always checked; nothing is ever asked of the user. Runs on the island.
"""

import functools
import getpass
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

import asyncssh

from mountdl.settings import SftpSettings
from mountdl.sources.sftp.address import Place
from mountdl.sources.sftp.failures import KeyChanged, Nameless

WINDOW = 16 << 20
"""Of a channel: asyncssh's own 2 MiB bounds a link of 20 ms to 48 MB/s, 16 MiB to 284."""

# A line for each connection and channel, at INFO, is more than users of our log ask for.
logging.getLogger("asyncssh").setLevel(logging.WARNING)

KEEPALIVE = 15
SYSTEM = Path("/etc/ssh")


Dial = Callable[[str, int], Awaitable[socket.socket]]
"""Connects to a host and port, as the user's proxies say."""


async def connect(
    place: Place, settings: SftpSettings, dial: Dial
) -> tuple[asyncssh.SSHClientConnection, asyncssh.SFTPClient]:
    """Return a connection to *place* and its SFTP client. Raises what asyncssh and sockets raise."""
    _check_who()
    told = _told(place, settings)
    options = asyncssh.SSHClientConnectionOptions(**told)
    told["known_hosts"] = _known(options.known_hosts, settings)
    if not options.config.get("Ciphers"):
        told |= _ciphers()
    direct = not options.tunnel and not options.proxy_command
    try:
        made = await _begun(await dial(options.host, options.port) if direct else None, told)
    except asyncssh.HostKeyNotVerifiable as error:
        if _listed(told["known_hosts"], options.host, options.port):
            raise KeyChanged from error
        raise
    try:
        # `start_sftp_client` opens its session by this method and takes no window.
        made.open_session = functools.partial(made.open_session, window=WINDOW)  # type: ignore[method-assign]
        return made, await made.start_sftp_client()
    except BaseException:
        made.abort()
        raise


async def _begun(sock: socket.socket | None, told: dict[str, object]) -> asyncssh.SSHClientConnection:
    """Return an SSH connection over *sock*, which is closed if that fails."""
    taken = False

    # Asked for once the library has the socket, which it closes itself from then on.
    def client() -> asyncssh.SSHClient:
        nonlocal taken
        taken = True
        return asyncssh.SSHClient()

    try:
        return await asyncssh.connect(sock=sock, client_factory=client, **told)
    except BaseException:
        if sock is not None and not taken:  # it reads configuration and keys first, in a thread
            sock.close()
        raise


def _check_who() -> None:
    """Raise Nameless where the library could not find the user's name or home, which it asks for whatever it is told.

    As `ssh` does, even where the URL has a user; a container may be run by a user of whom it has no line in passwd(5).
    """
    try:
        getpass.getuser()
        Path.home()
    except (KeyError, OSError, RuntimeError) as error:
        raise Nameless from error


def _told(place: Place, settings: SftpSettings) -> dict[str, object]:
    """Return what asyncssh is told beside ssh's own configuration."""
    told: dict[str, object] = {
        "host": place.host,
        "config": [str(path) for path in (settings.directory / "config", SYSTEM / "ssh_config") if path.is_file()],
        "keepalive_interval": KEEPALIVE,
        "keepalive_count_max": 2,
        "login_timeout": settings.connect_timeout * 2,
    }
    given = {"port": place.port, "username": place.user, "password": place.password}
    return told | {name: value for name, value in given.items() if value is not None}


def _known(configured: object, settings: SftpSettings) -> list[str] | bytes:
    """Return the files of known hosts that exist; never None, with which asyncssh would check nothing."""
    own = [settings.directory / "known_hosts", settings.directory / "known_hosts2", SYSTEM / "ssh_known_hosts"]
    paths = [Path(str(path)) for path in configured] if isinstance(configured, list) and configured else own
    return [str(path) for path in paths if path.is_file()] or b""


def _listed(known: object, host: str, port: int) -> bool:
    """Say whether *known* has a key for *host*."""
    try:
        found = asyncssh.match_known_hosts(known, host, "", port)  # type: ignore[arg-type]
    except (OSError, ValueError):
        return False
    return bool(found[0])


def _ciphers() -> dict[str, object]:
    """Return the order of ciphers: AES first where the processor has it (660-910 MB/s; ChaCha 540-595)."""
    if not _has_aes():
        return {}
    first = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]
    rest = ["chacha20-poly1305@openssh.com", "aes256-ctr", "aes192-ctr", "aes128-ctr"]
    return {"encryption_algs": first + rest}


@cache
def _has_aes() -> bool:
    try:
        return " aes" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
