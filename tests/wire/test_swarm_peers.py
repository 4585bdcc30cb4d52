"""How peers are found and spoken to: the DHT, peer exchange, encryption. All on loopback."""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

pytest.importorskip("libtorrent")

import libtorrent as lt

from mountdl.descriptors.magnet import link_of
from mountdl.descriptors.model import Descriptor, Magnet, SwarmRef
from mountdl.errors import ContentUnavailable, SourceUnavailable
from mountdl.extents import Extent
from mountdl.settings import EngineSettings
from tests.support.content import pattern
from tests.support.machine import until
from tests.support.ports import free_port
from tests.support.swarms import loopback, one_file, peer, seed, seeding, tracker, with_tracker
from tests.wire.test_swarm import Bench, running

FORCED = {
    "in_enc_policy": int(lt.enc_policy.forced),
    "out_enc_policy": int(lt.enc_policy.forced),
    "allowed_enc_level": int(lt.enc_level.rc4),
}
"""A peer that speaks RC4 or not at all."""
PLAIN = {"in_enc_policy": int(lt.enc_policy.disabled), "out_enc_policy": int(lt.enc_policy.disabled)}
NODE = {
    "enable_dht": True,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_enforce_node_id": False,
    "dht_announce_interval": 1,
}
"""A node of a DHT whose nodes have one address."""


@pytest.mark.parametrize("required", [True, False], ids=["we-require-it", "only-they-do"])
async def test_a_peer_that_requires_encryption_is_read_from(tmp_path: Path, required: bool) -> None:  # noqa: FBT001
    """Whether we require it too or merely can."""
    data = pattern(1_000_000)
    made = one_file(tmp_path / "seed", data)
    with peer(**FORCED) as other:
        seed(other, made, tmp_path / "seed")
        async with running(tmp_path / "cache", settings=loopback(require_encryption=required)) as bench:
            [content] = bench.contents(made, other.address)
            assert data == await bench.engine.open(content).read(Extent(0, len(data)))


async def test_who_speaks_in_plain_is_not_spoken_to_where_encryption_is_required(tmp_path: Path) -> None:
    """It has all of it; nothing comes."""
    made = one_file(tmp_path / "seed", pattern(100_000))
    with peer(**PLAIN) as other:
        handle = seed(other, made, tmp_path / "seed")
        settings, patience = loopback(require_encryption=True), EngineSettings(read_timeout=2)
        async with running(tmp_path / "cache", settings=settings, engine=patience) as bench:
            [content] = bench.contents(made, other.address)
            with pytest.raises(ContentUnavailable):
                await bench.engine.open(content).read(Extent(0, 1000))
        assert handle.status().all_time_upload == 0


@pytest.mark.skipif(shutil.which("aria2c") is None, reason="aria2c is not installed")
async def test_aria2_that_requires_encryption_gets_from_us(tmp_path: Path) -> None:
    """With --bt-require-crypto=true and RC4, what we had from another peer."""
    data = pattern(1_000_000)
    made, settings = one_file(tmp_path / "seed", data), loopback(seed_ratio=0.0)
    with seeding(made, tmp_path / "seed") as other, tracker() as (names, url):
        async with running(tmp_path / "cache", settings=settings) as bench:
            [content] = bench.contents(made, other.address)
            assert data == await bench.engine.open(content).read(Extent(0, len(data)))
            names.peers = [settings.ports[0]]
            (tmp_path / "t.torrent").write_bytes(with_tracker(made, url))
            with trio.fail_after(50):
                done = await trio.run_process(
                    ["aria2c", "-d", tmp_path / "aria2", "--enable-dht=false", "--enable-dht6=false", "--seed-time=0",
                     "--interface=127.0.0.1", f"--listen-port={free_port()}", "--summary-interval=0", "--quiet",
                     "--bt-require-crypto=true", "--bt-min-crypto-level=arc4", "--bt-stop-timeout=40",
                     tmp_path / "t.torrent"],
                    check=False, capture_stdout=True,
                )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert data == (tmp_path / "aria2" / "a.bin").read_bytes()


@pytest.mark.parametrize("interface", ["127.0.0.2", "lo"])
async def test_peers_are_met_on_the_interface_alone(tmp_path: Path, interface: str) -> None:
    """Also those that we connect to: who names the address of a tunnel means all of it, and no other family either."""
    data = pattern(3_000_000)
    made = one_file(tmp_path / "seed", data)
    elsewhere = "[::1]" if socket.has_dualstack_ipv6() and interface != "lo" else "127.0.0.3"
    with seeding(made, tmp_path / "seed", upload=100_000) as other, seeding(made, tmp_path, host=elsewhere) as v6:
        async with running(tmp_path / "cache", settings=loopback(interface=interface)) as bench:
            [content] = bench.contents(made, other.address, *([v6.address] if elsewhere == "[::1]" else []))
            reader = bench.engine.open(content)
            assert data[:65536] == await reader.read(Extent(0, 65536))
            seen = [
                str(each.ip[0]) for made in (other, v6) for handle in made.handles for each in handle.get_peer_info()
            ]
            assert seen == ["127.0.0.1" if interface == "lo" else interface]


async def test_a_peer_tells_of_another(tmp_path: Path) -> None:
    """The only one that we know lacks a piece; the one that it knows has it (BEP 11)."""
    data = pattern(1_000_000)
    made = one_file(tmp_path / "seed", data)
    keeping = {"close_redundant_connections": False}
    with peer(**keeping) as known, peer(**keeping) as told:
        seed(told, made, tmp_path / "seed")
        # Slow, for whoever has nothing more to give is left before it says whom it knows.
        handle = seed(known, made, tmp_path / "seed", upload=100_000, lacking=(15,))
        handle.connect_peer(("127.0.0.1", told.port))
        await until(lambda: handle.status().num_peers)
        async with running(tmp_path / "cache", engine=EngineSettings(read_timeout=60, background="off")) as bench:
            [content] = bench.contents(made, known.address)
            assert data == await bench.engine.open(content).read(Extent(0, len(data)))


async def test_the_dht_leads_to_peers_and_metadata(tmp_path: Path) -> None:
    """A magnet that names nobody: the node that we know knows of the peer, which tells what is in the torrent."""
    data = pattern(500_000)
    made = one_file(tmp_path / "seed", data)
    with peer(**NODE) as hub, peer(**NODE) as other:
        for each in (hub, other):
            await until(each.session.is_dht_running)
        other.session.add_dht_node(("127.0.0.1", hub.port))
        handle = seed(other, made, tmp_path / "seed")
        async with running(tmp_path / "cache", settings=loopback(dht=True, metadata_timeout=4.0)) as bench:
            await bench.swarms._binding.load()
            bench.swarms._session.start().add_dht_node(("127.0.0.1", hub.port))
            await trio.sleep(1.5)  # the nodes get to know one another
            handle.force_dht_announce()
            link = link_of(Magnet("a.bin", btih=handle.info_hashes().v1.to_bytes()))
            with trio.fail_after(60):
                while (found := await resolved(bench, SwarmRef(link, "torrent"))) is None:
                    handle.force_dht_announce()
            assert [entry.size for entry in found.entries] == [len(data)]
            [content] = bench.contents(made)
            content = replace(content, swarms=(SwarmRef(link, "torrent"),))
            assert data == await bench.engine.open(content).read(Extent(0, len(data)))


async def resolved(bench: Bench, ref: SwarmRef) -> Descriptor | None:
    """Return what *ref* leads to; None when nobody told in time."""
    try:
        return await bench.swarms.resolve(ref)
    except SourceUnavailable:
        return None


@asynccontextmanager
async def asked(bench: Bench, link: str) -> AsyncIterator[list[Descriptor]]:
    """Ask what *link* leads to; in the end wait until that was told, and is in the list."""
    found: list[Descriptor] = []

    async def ask() -> None:
        found.append(await bench.swarms.resolve(SwarmRef(link, "torrent")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        yield found
        with trio.fail_after(50):
            while not found:
                await trio.sleep(0.05)


async def test_a_magnet_that_nobody_answers_and_the_torrent_beside_it(tmp_path: Path) -> None:
    """While peers are asked for what is in it somebody opens a file of the same torrent: it is read, and that answers."""
    data = pattern(1_000_000)
    made = one_file(tmp_path / "seed", data)
    with seeding(made, tmp_path / "seed") as other:
        async with running(tmp_path / "cache", settings=loopback(metadata_timeout=60.0)) as bench:
            link = link_of(Magnet("a.bin", btih=other.handles[0].info_hashes().v1.to_bytes()))
            async with asked(bench, link) as found:
                await until(lambda: any(each.handle for each in bench.swarms._inquiries.values()))
                [content] = bench.contents(made, other.address)
                assert data == await bench.engine.open(content).read(Extent(0, len(data)))
            assert [entry.size for entry in found[0].entries] == [len(data)]


async def test_a_magnet_that_one_of_two_gives_up(tmp_path: Path) -> None:
    """Who goes on asking is told all the same, as soon as somebody knows."""
    data = pattern(1_000_000)
    made = one_file(tmp_path / "seed", data)
    with seeding(made, tmp_path / "seed") as other:
        async with running(tmp_path / "cache", settings=loopback(metadata_timeout=60.0)) as bench:
            link = link_of(Magnet("a.bin", btih=other.handles[0].info_hashes().v1.to_bytes()))
            async with asked(bench, link):
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as impatient:
                        impatient.start_soon(bench.swarms.resolve, SwarmRef(link, "torrent"))
                        await until(lambda: any(each.handle for each in bench.swarms._inquiries.values()))
                        scope.cancel()
                [content] = bench.contents(made, other.address)
                assert data == await bench.engine.open(content).read(Extent(0, len(data)))
            assert not bench.swarms._inquiries


async def test_a_magnet_that_is_given_up_while_its_torrent_is_joined(tmp_path: Path) -> None:
    """What libtorrent says of the one is not taken for the other's, in whatever order."""
    data = pattern(1_000_000)
    made = one_file(tmp_path / "seed", data)
    with seeding(made, tmp_path / "seed") as other:
        async with running(tmp_path / "cache", settings=loopback(metadata_timeout=60.0)) as bench:
            link = link_of(Magnet("a.bin", btih=other.handles[0].info_hashes().v1.to_bytes()))
            await bench.swarms._binding.load()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(bench.swarms.resolve, SwarmRef(link, "torrent"))
                    await trio.testing.wait_all_tasks_blocked()
                    [content] = bench.contents(made, other.address)
                    reader = bench.engine.open(content)
                    scope.cancel()
            assert data == await reader.read(Extent(0, len(data)))


async def test_a_question_that_nobody_answers_leaves_no_folder(tmp_path: Path) -> None:
    """A magnet that leads nowhere is asked for for months, some hundred times a day."""
    async with running(tmp_path / "cache", settings=loopback(metadata_timeout=0.5)) as bench:
        link = link_of(Magnet("a.bin", btih=bytes(range(20))))
        assert await resolved(bench, SwarmRef(link, "torrent")) is None
        left = lambda: list((tmp_path / "cache" / "swarms").glob("run-*/*"))  # noqa: E731
        await until(lambda: not left())
