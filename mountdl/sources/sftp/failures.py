"""What asyncssh and sockets raise, as what the engine knows, in sentences that say what to do. Pure."""

import os
import socket

import asyncssh

from mountdl.errors import SourceError, SourceMismatch, SourceRefused, SourceUnavailable
from mountdl.sources.sftp.address import Address
from mountdl.sources.sftp.lost import Lost
from mountdl.sources.tunnel import Unconnected

_LOST = "the connection was lost"
LOST = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.ConnectionLost, asyncssh.ChannelOpenError)


class Stalled(Exception):
    """Nothing came for *seconds*."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing came for {seconds:g} s")


class Ended(Exception):
    """The file ended at *offset*, before what was asked."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the file ends at {offset} there")


class KeyChanged(Exception):
    """known_hosts has another key for the host."""


class Nameless(Exception):
    """The machine knows nothing of the user who runs this."""

    def __init__(self) -> None:
        super().__init__(
            f"the machine knows no name and home of user {os.getuid()}, which ssh needs: set LOGNAME and HOME"
        )


def explained(address: Address, error: BaseException) -> SourceError:
    """Return what *error*, met at *address*, means."""
    kind, reason = _meaning(address, error)
    return kind(address.shown, reason)


def _meaning(address: Address, error: BaseException) -> tuple[type[SourceError], str]:
    place = address.place
    match error:
        case KeyChanged():
            return SourceRefused, (
                f"the host key differs from the one in known_hosts: if {place.host} really has a new key, "
                f"`ssh-keygen -R {_entry(address)}` and `ssh` to it once"
            )
        case asyncssh.HostKeyNotVerifiable():
            return SourceRefused, (
                f"the host key is not known: `ssh` to {place.host} once, or add what `ssh-keyscan"
                f"{f' -p {place.port}' if place.port else ''} {place.host}` says "
                "to ~/.ssh/known_hosts after checking it"
            )
        case Nameless():
            return SourceRefused, str(error)
        case asyncssh.PermissionDenied():
            return SourceRefused, (
                "the server accepts no key or password of ours: no passphrase is asked for here, "
                "so load the key with `ssh-add`, or say the user in the URL or ~/.ssh/config"
            )
        case asyncssh.KeyExchangeFailed():
            return SourceRefused, "no common algorithms, or the host key is of another kind than in known_hosts"
        case asyncssh.SFTPNoSuchFile() | asyncssh.SFTPNoSuchPath():
            return SourceRefused, "there is no such file"
        case asyncssh.SFTPPermissionDenied():
            return SourceRefused, "the server does not let us read the file"
        case asyncssh.SFTPFileIsADirectory():
            return SourceRefused, "it is a folder"
        case Ended():
            return SourceMismatch, str(error)
        case asyncssh.ConfigParseError() | asyncssh.KeyImportError():
            return SourceRefused, f"ssh's configuration or a key can't be used: {error}"
    reason = _passing(address, error)
    return Lost if reason == _LOST else SourceUnavailable, reason


def _passing(address: Address, error: BaseException) -> str:
    match error:
        case Stalled() | Unconnected():
            return str(error)
        case asyncssh.ServiceNotAvailable() | asyncssh.ProtocolError() | asyncssh.ProtocolNotSupported():
            return "the server is no SSH server that can be talked to"
        case asyncssh.SFTPError() if not isinstance(error, LOST):
            return "the server reports a failure"
        case asyncssh.Error() | ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return _LOST
        case socket.gaierror():
            return f"the name {address.place.host} is not known"
        case TimeoutError():
            return "it did not answer in time"
        case OSError():
            return error.strerror.lower() if error.strerror else str(error) or "the connection failed"
    return f"failed with {type(error).__name__}"


def _entry(address: Address) -> str:
    """Return how known_hosts names the host."""
    place = address.place
    return f"'[{place.host}]:{place.port}'" if place.port not in {None, 22} else place.host
