"""What libtorrent tells, as values of our own.

Law: an alert dies at the next `pop_alerts`, so whatever is needed of one is copied here, at once. Attributes that
copy a buffer at each access are read once.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import libtorrent as lt

Handle: TypeAlias = "lt.torrent_handle"
Keys = tuple[str, ...]
"""The names of a torrent: its version 1 info-hash and its version 2 one, cut to 20 bytes, as hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something about the torrent known by *keys*, that the session has as *handle*."""

    keys: Keys
    handle: Handle


@dataclass(frozen=True, slots=True)
class Added(Alert):
    """It is in the session now, to lie in *folder*, or could not be for *error*."""

    folder: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Removed(Alert):
    """It is not in the session any more: nothing is written for it."""


@dataclass(frozen=True, slots=True)
class PieceFinished(Alert):
    """Piece *piece* is here and matched its hash."""

    piece: int


@dataclass(frozen=True, slots=True)
class PieceRead(Alert):
    """The bytes of a piece that were asked for; None with *error* when they can't be had."""

    piece: int
    data: bytes | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class HashFailed(Alert):
    """Piece *piece* did not match its hash and is fetched again."""

    piece: int


@dataclass(frozen=True, slots=True)
class Finished(Alert):
    """All that is wanted is here."""


@dataclass(frozen=True, slots=True)
class PeerBanned(Alert):
    """*peer* is not talked to any more: it alone sent a wrong piece, or it had a part in four of them or more.

    One who is honest may be among the latter: which block was wrong is not known of a piece of several peers.
    """

    peer: str


@dataclass(frozen=True, slots=True)
class PeerConnected(Alert):
    """A connection to *peer*, which listens there, is up."""

    peer: str


@dataclass(frozen=True, slots=True)
class Metadata(Alert):
    """The info dictionary came from peers."""

    info: bytes


@dataclass(frozen=True, slots=True)
class Failed(Alert):
    """It stands still: *reason*, as libtorrent or the *disk* says it; *full*: the disk has no room."""

    reason: str
    disk: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True)
class TrackerSaid(Alert):
    """A tracker answered with an error or a warning."""

    text: str


@dataclass(frozen=True, slots=True)
class Progress(Alert):
    """How it stands: connected *peers*, *seeds* among them; bytes of payload since it was added, both ways."""

    peers: int
    seeds: int
    downloaded: int
    uploaded: int


def translate(alert: Any) -> list[Alert]:
    """Return what *alert* says that matters here: nothing for most."""
    maker = _MAKERS.get(type(alert).__name__)
    return maker(alert) if maker is not None else []


def keys_of(hashes: Any) -> Keys:
    """Return the names of the torrent that has *hashes*."""
    found = []
    if hashes.has_v1():
        found.append(str(hashes.v1))
    if hashes.has_v2():
        found.append(str(hashes.v2)[:40])
    return tuple(found)


def _which(alert: Any) -> tuple[Keys, Handle]:
    handle = alert.handle
    return keys_of(handle.info_hashes()), handle


def _added(alert: Any) -> list[Alert]:
    error, given = alert.error, alert.params
    return [Added(keys_of(given.info_hashes), alert.handle, given.save_path, error.message() if error.value() else "")]


def _read(alert: Any) -> list[Alert]:
    error = alert.error
    if error.value():
        return [PieceRead(*_which(alert), alert.piece, None, error.message())]
    return [PieceRead(*_which(alert), alert.piece, alert.buffer)]


def _metadata(alert: Any) -> list[Alert]:
    info = alert.handle.torrent_file()
    return [Metadata(*_which(alert), bytes(info.info_section()))] if info is not None else []


def _progress(alert: Any) -> list[Alert]:
    return [
        Progress(
            keys_of(status.info_hashes),
            status.handle,
            status.num_peers,
            status.num_seeds,
            status.total_payload_download,
            status.total_payload_upload,
        )
        for status in alert.status
    ]


def _peer(alert: Any) -> str:
    host, port = alert.endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _connected(alert: Any) -> list[Alert]:
    # Who came to us did so from a port that nobody can come back to.
    return [PeerConnected(*_which(alert), _peer(alert))] if "outgoing" in alert.message() else []


def _disconnected(alert: Any) -> list[Alert]:
    # libtorrent bans an address and port; who comes again from another port is met anew, and told of anew.
    corrupt = alert.error.category().name() == "libtorrent" and "corrupt" in alert.error.message()
    return [PeerBanned(*_which(alert), _peer(alert))] if corrupt else []


def _failed(alert: Any) -> list[Alert]:
    error = alert.error
    disk = error.category().name() in {"system", "generic"}
    full = disk and error.value() in {errno.ENOSPC, errno.EDQUOT}
    return [Failed(*_which(alert), error.message(), disk, full)]


_MAKERS: dict[str, Callable[[Any], list[Alert]]] = {
    "add_torrent_alert": _added,
    "torrent_removed_alert": lambda alert: [Removed(keys_of(alert.info_hashes), alert.handle)],
    "piece_finished_alert": lambda alert: [PieceFinished(*_which(alert), alert.piece_index)],
    "read_piece_alert": _read,
    "torrent_finished_alert": lambda alert: [Finished(*_which(alert))],
    "hash_failed_alert": lambda alert: [HashFailed(*_which(alert), alert.piece_index)],
    "peer_ban_alert": lambda alert: [PeerBanned(*_which(alert), _peer(alert))],
    "peer_disconnected_alert": _disconnected,
    "peer_connect_alert": _connected,
    "metadata_received_alert": _metadata,
    "metadata_failed_alert": lambda alert: [Failed(*_which(alert), "a peer sent metadata that is not the torrent's")],
    "torrent_error_alert": _failed,
    "file_error_alert": _failed,
    "tracker_error_alert": lambda alert: [TrackerSaid(*_which(alert), alert.message())],
    "state_update_alert": _progress,
}
