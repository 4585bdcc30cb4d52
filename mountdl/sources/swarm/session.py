"""One libtorrent session for a mount, and its alerts into trio.

Law: it touches the network only once the first torrent is joined. No call here waits: what takes time is posted,
and the answer comes as an alert. Alerts arrive by a socket that libtorrent writes a byte to: no polling, no thread.
"""

import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from mountdl.settings import SwarmSettings
from mountdl.sources.swarm.alerts import Alert, PeerConnected, translate
from mountdl.sources.swarm.promptness import Promptness

if TYPE_CHECKING:
    import libtorrent as lt

log = logging.getLogger(__name__)

TICK_MS = 100
"""Milliseconds of libtorrent's clock: a read of one piece took 45 to 192 ms with it, 405 to 497 ms with 500."""
ALERTS = 200_000
"""Alerts kept until they are read: each piece of a torrent may make one when it is joined."""
DISK = "posix_disk_io_constructor"
"""Who writes and reads files for libtorrent. This one does so block by block, at once, in the thread that received
it: what it calls finished is on disk, and a slow disk slows peers down. The default has four threads for that, which
wait for one another at the one file that is fetched and write a piece at a time: 1 GiB in order through the mount
came with 105 and 157 MiB/s by it, 212 and 234 by this (runs in turn, 2 cores, a peer on loopback)."""
STATE = "session.state"
STRIKES = 3
"""Times that wrong pieces may come from one address, from another port each, before none of it is talked to."""
_CATEGORIES = ("error", "status", "storage", "piece_progress", "connect")


def pack(settings: SwarmSettings) -> dict[str, object]:
    """Return *settings* as libtorrent's, with what was measured to serve readers best."""
    import libtorrent as lt

    mask = 0
    for name in _CATEGORIES:
        mask |= int(getattr(lt.alert_category, name))
    forced = settings.require_encryption
    return {
        "alert_mask": mask,
        "alert_queue_size": ALERTS,
        "user_agent": "mountdl/0.1.0",
        "listen_interfaces": _interfaces(settings),
        # Else the routing table decides where a connection leaves, and of which family it is.
        "outgoing_interfaces": settings.interface or "",
        "max_retry_port_bind": max(0, settings.ports[1] - settings.ports[0]),
        "listen_system_port_fallback": False,
        "enable_dht": settings.dht,
        "enable_lsd": settings.local_discovery,
        "enable_upnp": False,
        "enable_natpmp": False,
        "webtorrent_stun_server": "",
        "out_enc_policy": int(lt.enc_policy.forced if forced else lt.enc_policy.enabled),
        "in_enc_policy": int(lt.enc_policy.forced if forced else lt.enc_policy.enabled),
        "allowed_enc_level": int(lt.enc_level.rc4 if forced else lt.enc_level.both),
        "prefer_rc4": forced,
        # The one knob that matters to a stream: how many seconds of requests a peer is given ahead.
        "request_queue_time": 1,
        "tick_interval": TICK_MS,
        # libtorrent tries uTP first, which is a tenth as fast here and no kinder to a link that we share anyway.
        "enable_outgoing_utp": False,
        "min_reconnect_time": 5,
        "stop_tracker_timeout": 1,
        "allow_multiple_connections_per_ip": True,
        "connections_limit": 500,
        "upload_rate_limit": int(settings.overall_upload_rate),
        "download_rate_limit": int(settings.overall_download_rate),
        "announce_to_all_tiers": False,
        # Where all that is wanted is here for a moment, the next file of the torrent is read in the next: to part and
        # meet again took 0.8 s (1000 files of 30 KB in order, 9 in a piece: 118 s, without that 20).
        "close_redundant_connections": False,
        "active_limit": -1,
    }


def _interfaces(settings: SwarmSettings) -> str:
    port = settings.ports[0]
    # "l", for peers of the local network, is libtorrent's only word that keeps the DHT off an address; peers may
    # come to it from anywhere still, but trackers are not told of it.
    mark = "" if settings.dht6 or not settings.dht else "l"
    if settings.interface:
        host = settings.interface
        return f"[{host}]:{port}{mark}" if ":" in host else f"{host}:{port}"
    return f"0.0.0.0:{port},[::]:{port}{mark}"


def everybody() -> "lt.ip_filter":
    """Return what has the rate limits hold for peers of the local network too, which libtorrent exempts."""
    import libtorrent as lt

    rules = lt.ip_filter()
    for first, last in (("0.0.0.0", "255.255.255.255"), ("::", ":".join(["ffff"] * 8))):  # noqa: S104
        rules.add_rule(first, last, 1 << lt.session.global_peer_class_id)
    return rules


class Session:
    """The session, made by `start`; *heard* gets each alert. *folder* keeps what the DHT knew."""

    def __init__(self, settings: SwarmSettings, folder: Path, heard: Callable[[Alert], None]) -> None:
        self._settings, self._folder, self._heard = settings, folder, heard
        self._session: lt.session | None = None
        self._started = trio.Event()
        self._strikes: dict[str, set[str]] = {}
        self.promptness = Promptness()
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)

    @property
    def started(self) -> bool:
        """Whether there is one."""
        return self._session is not None

    def start(self) -> "lt.session":
        """Return the session, made now if need be."""
        if self._session is None:
            import libtorrent as lt

            self._session = lt.session(self._parameters())
            if self._settings.overall_upload_rate or self._settings.overall_download_rate:
                self._session.set_peer_class_filter(everybody())
            self._session.set_alert_fd(self._writer.fileno())
            self._started.set()
        return self._session

    def _parameters(self) -> "lt.session_params":
        import libtorrent as lt

        parameters = lt.session_params()
        with suppress(OSError, RuntimeError):
            state = (self._folder / STATE).read_bytes()
            parameters = lt.read_session_params(state, lt.save_state_flags_t.save_dht_state)
        parameters.disk_io_constructor = DISK
        packed = pack(self._settings)
        if not self._settings.dht or (self._settings.interface or "").startswith("127."):
            packed["dht_bootstrap_nodes"] = ""
        parameters.settings = packed  # type: ignore[assignment]  # a plain dictionary is what it is
        return parameters

    def strike(self, peer: str) -> None:
        """Take in that *peer* had a part in wrong pieces.

        libtorrent talks no more to that address and port; a liar that comes again has another port.
        """
        host, _, port = peer.rpartition(":")
        ports = self._strikes.setdefault(host.strip("[]"), set())
        ports.add(port)
        if len(ports) == STRIKES and self._session is not None:
            self._shut_out(self._session)

    def _shut_out(self, session: "lt.session") -> None:
        import libtorrent as lt

        rules = lt.ip_filter()
        for host in (host for host, ports in self._strikes.items() if len(ports) >= STRIKES):
            rules.add_rule(host, host, 1)
        session.set_ip_filter(rules)

    async def run(self) -> None:
        """Hand alerts on until cancelled; then leave all swarms and keep what the DHT knows."""
        try:
            await self._started.wait()
            while True:
                await trio.lowlevel.wait_readable(self._reader)
                self._drain()
        finally:
            self._close()

    def _drain(self) -> None:
        # A second alert writes no second byte: empty the socket first, then take all there are.
        with suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass
        if self._session is None:
            return
        for alert in self._session.pop_alerts():
            try:
                told = translate(alert)
            except Exception:
                log.exception("an alert of libtorrent could not be read")
                continue
            for each in told:
                if isinstance(each, PeerConnected):
                    self.promptness.connected(trio.current_time())
                self._heard(each)

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.pause()
            self._keep(session)
            # Ends its threads; trackers are told, for a second at most.
            del session
        self._reader.close()
        self._writer.close()

    def _keep(self, session: "lt.session") -> None:
        if not self._settings.dht:
            return
        import libtorrent as lt

        with suppress(OSError, RuntimeError):
            state = session.session_state(lt.save_state_flags_t.save_dht_state)
            fresh = self._folder / f"{STATE}.new"
            fresh.write_bytes(lt.write_session_params_buf(state, lt.save_state_flags_t.save_dht_state))
            fresh.replace(self._folder / STATE)
