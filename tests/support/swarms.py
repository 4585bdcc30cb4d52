"""Real peers on loopback: libtorrent sessions that seed, and a tracker that names them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import trio

from mountdl.settings import SwarmSettings
from tests.support.ports import free_port
from tests.support.torrents import encode, several, single, torrent

with suppress(ImportError):  # who needs it skips without it
    import libtorrent as lt

LOCAL = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "dht_bootstrap_nodes": "",
    "webtorrent_stun_server": "",
    "allow_multiple_connections_per_ip": True,
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "stop_tracker_timeout": 0,
    "alert_mask": 0,
    "min_reconnect_time": 1,
    "peer_timeout": 20,
}


def loopback(**more: object) -> SwarmSettings:
    """Return settings that stay on this machine."""
    given: dict[str, object] = {
        "ports": (free_port(), 65535),
        "interface": "127.0.0.1",
        "dht": False,
        "dht6": False,
        "metadata_timeout": 10.0,
    }
    return SwarmSettings(**{**given, **more})  # type: ignore[arg-type]


@dataclass
class Peer:
    """A libtorrent session on *host* that has *handles*; *address* is "127.0.0.1:PORT"."""

    session: lt.session
    host: str = "127.0.0.1"
    handles: list[lt.torrent_handle] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.session.listen_port()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@contextmanager
def peer(host: str = "127.0.0.1", **settings: object) -> Iterator[Peer]:
    """Run a libtorrent session on *host*."""
    session = lt.session(dict(LOCAL, listen_interfaces=f"{host}:0", **settings))  # type: ignore[call-overload]
    made = Peer(session, host)
    while not session.listen_port():
        time.sleep(0.001)
    try:
        yield made
    finally:
        session.pause()


def seed(made: Peer, data: bytes, folder: Path, upload: int = 0, lacking: tuple[int, ...] = ()) -> lt.torrent_handle:
    """Have *made* give the torrent *data*, whose files are in *folder*."""
    parameters = lt.load_torrent_buffer(data)
    parameters.save_path = str(folder)
    assert parameters.ti is not None
    # It takes this at its word, and so gives what is in the folder even if that is wrong.
    parameters.have_pieces = [piece not in lacking for piece in range(parameters.ti.num_pieces())]
    parameters.piece_priorities = [int(each) for each in parameters.have_pieces]
    parameters.flags = lt.torrent_flags.update_subscribe
    parameters.trackers = []
    handle = made.session.add_torrent(parameters)
    if upload:
        handle.set_upload_limit(upload)
    made.handles.append(handle)
    return handle


@contextmanager
def seeding(
    data: bytes, folder: Path, upload: int = 0, lacking: tuple[int, ...] = (), host: str = "127.0.0.1"
) -> Iterator[Peer]:
    """Run a peer on *host* that gives the torrent *data*."""
    with peer(host) as made:
        seed(made, data, folder, upload, lacking)
        yield made


@contextmanager
def choking(data: bytes) -> Iterator[str]:
    """Run a peer that says to have all of torrent *data* and never lets anybody have any; give its address."""
    parameters = lt.load_torrent_buffer(data)
    assert parameters.ti is not None
    count = parameters.ti.num_pieces()
    having = (((1 << count) - 1) << (-count % 8)).to_bytes(-(-count // 8))
    hello = b"\x13BitTorrent protocol" + bytes(8) + parameters.info_hashes.v1.to_bytes() + b"-XX0000-" + bytes(12)
    said = hello + (len(having) + 1).to_bytes(4) + b"\x05" + having

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.sendall(said)
                while self.request.recv(65536):
                    pass

    server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Wire:
    """What goes through the port *port*; *sent*: bytes of answers, as they are passed on."""

    port: int = 0
    sent: int = 0


@contextmanager
def wire(port: int) -> Iterator[Wire]:
    """Have a port lead to *port* and count what comes from there."""
    made = Wire()

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as behind, suppress(OSError):
                asking = threading.Thread(target=self._ask, args=(behind,))
                asking.start()
                while data := behind.recv(1 << 16):
                    self.request.sendall(data)
                    made.sent += len(data)
                self.request.shutdown(socket.SHUT_RDWR)
                asking.join()

        def _ask(self, behind: socket.socket) -> None:
            with suppress(OSError):
                while data := self.request.recv(1 << 16):
                    behind.sendall(data)
                behind.shutdown(socket.SHUT_RDWR)

    server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


class Tracker:
    """An HTTP tracker (BEP 3) that names *peers*, ports or "ADDRESS:PORT", to whoever asks; *asked* counts."""

    def __init__(self) -> None:
        self.peers: list[int | str] = []
        self.asked: list[str] = []

    def answer(self) -> bytes:
        named = (each if isinstance(each, str) else f"127.0.0.1:{each}" for each in self.peers)
        places = (each.rpartition(":") for each in named)
        compact = b"".join(socket.inet_aton(host) + int(port).to_bytes(2) for host, _, port in places)
        return encode({"interval": 5, "min interval": 5, "peers": compact})


@contextmanager
def tracker() -> Iterator[tuple[Tracker, str]]:
    """Run a tracker; give it and its URL."""
    made = Tracker()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            body = made.answer()
            with suppress(OSError):  # some ask and do not wait for the answer
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made, f"http://127.0.0.1:{server.server_address[1]}/announce"
    finally:
        server.shutdown()
        server.server_close()


def one_file(folder: Path, data: bytes, name: str = "a.bin", length: int = 65536, **root: object) -> bytes:
    """Write *data* to *folder* and return its torrent."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return torrent(single(data, length, name), **root)


def many_files(
    folder: Path, files: Mapping[str, bytes], name: str = "top", length: int = 65536, **root: object
) -> bytes:
    """Write *files* to *folder*/*name* and return their torrent, in one row without padding."""
    for path, data in files.items():
        place = folder / name / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return torrent(several(files, length, name), **root)


def made_by_libtorrent(folder: Path, files: Mapping[str, bytes], kind: str, length: int = 65536) -> bytes:
    """Write *files* to *folder*/top and return the torrent of version *kind* ("v1", "v2", "hybrid") that libtorrent makes."""
    for path, data in files.items():
        place = folder / "top" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}[kind]
    maker = lt.create_torrent(lt.list_files(str(folder / "top")), length, flags)
    lt.set_piece_hashes(maker, str(folder))
    return lt.bencode(maker.generate())


def leech(made: Peer, data: bytes, port: int, folder: Path) -> lt.torrent_handle:
    """Have *made* fetch the torrent *data* from the peer on *port* into *folder*."""
    parameters = lt.load_torrent_buffer(data)
    parameters.save_path = str(folder)
    parameters.trackers = []
    parameters.peers = [("127.0.0.1", port)]
    return made.session.add_torrent(parameters)


async def downloaded(data: bytes, port: int, folder: Path, within: float = 50.0) -> bytes:
    """Return the single file of torrent *data* as another peer gets it from the one on *port*."""
    with peer() as made:
        handle = leech(made, data, port, folder)
        with trio.fail_after(within):
            while not handle.status().is_seeding:
                await trio.sleep(0.05)
        handle.flush_cache()
        made.session.remove_torrent(handle)
        await trio.sleep(0.3)
        info = lt.load_torrent_buffer(data).ti
        assert info is not None
        return (folder / info.name()).read_bytes()


def info_hash(data: bytes) -> str:
    """Return the version 1 info-hash of torrent *data*, as hexadecimal digits."""
    return str(lt.load_torrent_buffer(data).info_hashes.v1)


def with_tracker(data: bytes, url: str) -> bytes:
    """Return torrent *data*, which has none, with a tracker."""
    return b"d8:announce%d:%s" % (len(url), url.encode()) + data[1:]
