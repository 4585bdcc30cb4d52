"""Each option of BitTorrent reaches libtorrent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("libtorrent")

import libtorrent as lt

from mountdl.control.configuration import settings
from mountdl.control.given import Given
from mountdl.descriptors import parse
from mountdl.descriptors.model import Torrent
from mountdl.settings import SwarmSettings
from mountdl.sources.swarm.adding import parameters
from mountdl.sources.swarm.session import everybody, pack
from tests.support.ports import free_port
from tests.support.swarms import LOCAL
from tests.support.torrents import single, torrent

PEER = "127.0.0.1:6881"


def told(*options: str) -> SwarmSettings:
    """Return what options as given on a command line mean."""
    given = [Given(name, value, "the command line") for name, _, value in (each.partition("=") for each in options)]
    return settings("/source", Path("/mnt"), given, {"HOME": "/nowhere"}).swarm


def known(*, private: bool = False) -> Torrent:
    info = single(b"abcdefgh") | ({"private": 1} if private else {})
    said = parse("x.torrent", torrent(info, announce="http://127.0.0.1:1/announce")).torrent
    assert said is not None
    return said


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("enable-dht=false", {"enable_dht": False}),
        ("enable-dht=true", {"enable_dht": True, "listen_interfaces": "0.0.0.0:6881,[::]:6881"}),
        ("enable-dht6=false", {"enable_dht": True, "listen_interfaces": "0.0.0.0:6881,[::]:6881l"}),
        ("bt-enable-lpd=true", {"enable_lsd": True}),
        ("bt-enable-lpd=false", {"enable_lsd": False, "enable_upnp": False, "enable_natpmp": False}),
        ("listen-port=7000-7009", {"listen_interfaces": "0.0.0.0:7000,[::]:7000", "max_retry_port_bind": 9}),
        ("interface=127.0.0.1", {"listen_interfaces": "127.0.0.1:6881"}),
        ("interface=::1", {"listen_interfaces": "[::1]:6881"}),
        ("interface=eth0", {"listen_interfaces": "eth0:6881", "outgoing_interfaces": "eth0"}),
        ("enable-dht=false", {"outgoing_interfaces": ""}),
        ("max-overall-upload-limit=100K", {"upload_rate_limit": 102400}),
        ("max-overall-download-limit=1M", {"download_rate_limit": 1048576}),
        ("bt-require-crypto=true", {"allowed_enc_level": 2, "out_enc_policy": 0, "in_enc_policy": 0}),
        ("bt-require-crypto=false", {"allowed_enc_level": 3, "out_enc_policy": 1, "in_enc_policy": 1}),
    ],
)
def test_the_session_gets(option: str, expected: dict[str, object]) -> None:
    """What concerns all torrents; every word is one that libtorrent knows."""
    packed = pack(told(option))

    assert expected == {name: packed[name] for name in expected}
    assert packed.keys() - {"outgoing_interfaces"} <= lt.default_settings().keys()  # it names those with a default


@pytest.mark.parametrize(
    ("option", "flag", "expected"),
    [
        ("enable-peer-exchange=true", "disable_pex", False),
        ("enable-peer-exchange=false", "disable_pex", True),
        ("bt-enable-lpd=true", "disable_lsd", False),
        ("bt-enable-lpd=false", "disable_lsd", True),
        ("enable-dht=true", "disable_dht", False),
        ("enable-dht=false", "disable_dht", True),
    ],
)
def test_a_torrent_finds_peers_by(option: str, flag: str, *, expected: bool) -> None:
    """What a torrent may use; a private one is known by its own dictionary, which libtorrent has whole."""
    made = parameters(known(), [PEER], [], told(option))

    assert expected == bool(made.flags & getattr(lt.torrent_flags, flag))
    assert made.peers == [("127.0.0.1", 6881)]


def test_a_torrent_gets_rates_and_peers() -> None:
    """0 is no limit."""
    made = parameters(known(), [], [], told("max-upload-limit=2K", "max-download-limit=3K", "bt-max-peers=7"))
    free = parameters(known(), [], [], told("max-upload-limit=0", "bt-max-peers=0"))

    assert (made.upload_limit, made.download_limit, made.max_connections) == (2048, 3072, 7)
    assert (free.upload_limit, free.download_limit, free.max_connections) == (-1, -1, -1)


@pytest.mark.parametrize("private", [False, True])
def test_a_torrent_asks_trackers(*, private: bool) -> None:
    """Those of the user are never asked of a private torrent."""
    more = told("bt-tracker=udp://127.0.0.1:2/announce")
    own, users = "http://127.0.0.1:1/announce", "udp://127.0.0.1:2/announce"
    made = parameters(known(private=private), [], [], more)

    assert made.trackers == [own] if private else [own, users]
    assert made.ti.priv() is private
    assert parameters(known(), [], [], told("bt-exclude-tracker=*")).trackers == []
    assert parameters(known(), [], [], told(f"bt-exclude-tracker={own}")).trackers == []


@pytest.mark.parametrize(("option", "expected"), [("seed-ratio=2.5", (2.5, None)), ("seed-time=1.5", (1.0, 90.0))])
def test_what_is_given_back(option: str, expected: tuple[float, float | None]) -> None:
    """Minutes on the command line, seconds inside; `Giving` has the law."""
    assert expected == (told(option).seed_ratio, told(option).seed_time)


@contextmanager
def session(listen: str) -> Iterator[lt.session]:
    made = lt.session(dict(LOCAL, listen_interfaces=listen, enable_dht=True))
    yield made
    made.pause()


def answers(family: socket.AddressFamily, host: str, port: int) -> bool:
    """Say whether a DHT node is there (BEP 5)."""
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.5)
        for _ in range(120 if host == "127.0.0.1" else 2):
            try:
                asking.sendto(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", (host, port))
                return asking.recv(1000).startswith(b"d")
            except OSError:
                continue
    return False


def test_libtorrent_keeps_the_dht_off_an_address_marked_local() -> None:
    """The one way to have it over IPv4 alone, on which `_interfaces` builds."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("there is no IPv6 on this machine")
    port = free_port()
    with session(f"127.0.0.1:{port},[::1]:{port}l"):
        assert answers(socket.AF_INET, "127.0.0.1", port)
        assert not answers(socket.AF_INET6, "::1", port)


def test_limits_hold_for_peers_of_the_local_network() -> None:
    """They are exempt unless libtorrent is told otherwise, in both families."""
    rules = everybody()

    assert [1 << lt.session.global_peer_class_id] * 2 == [rules.access(host) for host in ("127.0.0.1", "fe80::1")]
