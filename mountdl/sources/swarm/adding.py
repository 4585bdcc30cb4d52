"""From a torrent as parsed to libtorrent's parameters.

Law: libtorrent gets the info dictionary as it was found and nothing of a descriptor that we did not check: trackers
and peers come from the parsed value, web seeds are mirrors of our own.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from itertools import count
from typing import TYPE_CHECKING

from mountdl.descriptors import bencode
from mountdl.descriptors.magnet import link_of
from mountdl.descriptors.model import Magnet, Torrent
from mountdl.settings import SwarmSettings
from mountdl.sources.swarm.holdings import Part, held
from mountdl.sources.swarm.layout import Layout

if TYPE_CHECKING:
    import libtorrent as lt

_stirred = count(1)


def loadable(torrent: Torrent) -> bool:
    """Say whether all that is needed to check its bytes is here; of a version 2 magnet, the layers come from peers."""
    return all(file.layer or file.root is None or file.size <= torrent.piece_length for file in torrent.files)


def document(torrent: Torrent) -> bytes:
    """Return *torrent* as a .torrent file without anything but its info dictionary and layers."""
    layers: dict[bytes, bencode.Value] = {file.root: file.layer for file in torrent.files if file.root and file.layer}
    behind = b"12:piece layers" + bencode.encode(layers) if torrent.info_hash_v2 is not None else b""
    return b"d4:info" + torrent.info + behind + b"e"


def parameters(
    torrent: Torrent, peers: Iterable[str], more: Iterable[str], settings: SwarmSettings
) -> "lt.add_torrent_params":
    """Return what *torrent* is added with, *more* trackers too if it is public, without a place to write.

    Raises RuntimeError for one that libtorrent does not take.
    """
    import libtorrent as lt

    if loadable(torrent):
        atp = lt.load_torrent_buffer(document(torrent))
    else:
        atp = lt.parse_magnet_uri(link_of(Magnet("", btih=torrent.info_hash_v1, btmh=torrent.info_hash_v2)))
    named = {tracker for tier in torrent.trackers for tracker in tier}
    added = tuple((each,) for each in more if each not in named and not torrent.private)
    tiers = trackers((*torrent.trackers, *added), settings, private=torrent.private)
    atp.trackers = [tracker for tier in tiers for tracker in tier]
    atp.tracker_tiers = [place for place, tier in enumerate(tiers) for _ in tier]
    if not torrent.private:
        atp.dht_nodes = [node for node in map(_numeric, torrent.nodes) if node is not None]
    _set_common(atp, peers, settings)
    return atp


def inquiry(magnet: Magnet, settings: SwarmSettings) -> "lt.add_torrent_params":
    """Return what *magnet* is added with to learn its metadata."""
    import libtorrent as lt

    atp = lt.parse_magnet_uri(link_of(Magnet("", btih=magnet.btih, btmh=magnet.btmh)))
    tiers = trackers(tuple((tracker,) for tracker in magnet.trackers), settings, private=False)
    atp.trackers = [tracker for tier in tiers for tracker in tier]
    atp.tracker_tiers = [place for place, tier in enumerate(tiers) for _ in tier]
    _set_common(atp, magnet.peers, settings)
    return atp


def _set_common(atp: "lt.add_torrent_params", peers: Iterable[str], settings: SwarmSettings) -> None:
    import libtorrent as lt

    flags = lt.torrent_flags
    atp.flags = flags.update_subscribe | flags.duplicate_is_error
    if not settings.exchange:
        atp.flags |= flags.disable_pex
    if not settings.local_discovery:
        atp.flags |= flags.disable_lsd
    if not settings.dht:
        atp.flags |= flags.disable_dht
    atp.url_seeds = []
    atp.http_seeds = []
    atp.max_connections = settings.max_peers or -1
    atp.upload_limit = int(settings.upload_rate) or -1
    atp.download_limit = int(settings.download_rate) or -1
    atp.peers = addresses(peers)


def addresses(peers: Iterable[str]) -> list[tuple[str, int]]:
    """Return *peers* as libtorrent has them, those that are no names."""
    return [peer for peer in map(_numeric, peers) if peer is not None]


def trackers(tiers: Sequence[tuple[str, ...]], settings: SwarmSettings, *, private: bool) -> list[tuple[str, ...]]:
    """Return the trackers to ask, in tiers: without those the user excludes, and with his own of public torrents."""
    excluded = set(settings.excluded_trackers)
    kept = [] if "*" in excluded else [tuple(each for each in tier if each not in excluded) for tier in tiers]
    if not private:
        kept += [(tracker,) for tracker in settings.trackers]
    return [tier for tier in kept if tier]


def _numeric(peer: str) -> tuple[str, int] | None:
    """Return address and port of a *peer*; None for a name, which would have to be looked up."""
    host, _, port = peer.rpartition(":")
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError:
        return None


def stir(handle: "lt.torrent_handle", peers: Iterable[str]) -> None:
    """Have libtorrent look through the peers of *handle* anew, *peers* among them.

    Those that left when it had all it wanted are else not tried again: it learns that they are of use only
    when the list of peers changes. An address that nobody listens at changes it, and costs a refused connection.
    """
    number = next(_stirred)
    handle.connect_peer((f"127.{number >> 8 & 255}.{number & 255}.1", 9))
    for peer in addresses(peers):
        handle.connect_peer(peer)


def give(atp: "lt.add_torrent_params", layout: Layout, parts: Sequence[Part]) -> int:
    """Have *atp* offer *parts* out of the store's files and want nothing; return how many pieces that is."""
    here = held(layout, parts)
    atp.renamed_files = paths(atp, parts)
    atp.have_pieces = here
    atp.piece_priorities = [int(each) for each in here]
    return sum(here)


def place(atp: "lt.add_torrent_params", parts: Sequence[Part], have: Sequence[bool]) -> None:
    """Have *atp* find *parts*, if there are any, in the store's files, with those pieces whole that *have* says.

    Raises RuntimeError where it does not know one of them.
    """
    if not parts:
        return
    found = paths(atp, parts)
    if len(found) < len(parts):
        raise RuntimeError("its files are not those that it was said to have")
    atp.renamed_files = found
    atp.have_pieces = list(have)  # without this it would read all of them


def paths(atp: "lt.add_torrent_params", parts: Sequence[Part]) -> dict[int, str]:
    """Return, by libtorrent's own index, where *parts* lie, which are known to it by offset and size."""
    if atp.ti is None:
        return {}
    files = {(part.file.offset, part.file.size): part.path for part in parts}
    layout = atp.ti.layout()
    found = {}
    for index in range(layout.num_files()):
        path = files.get((layout.file_offset(index), layout.file_size(index)))
        if path is not None and layout.file_size(index):
            found[index] = str(path)
    return found
