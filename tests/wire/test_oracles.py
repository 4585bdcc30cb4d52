"""Other programs read what these tests make as mountdl does: aria2c, libtorrent, rhash, where they are installed.

Where one of them is known to be wrong the documents keep clear of it, and a comment says so.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mountdl import digests
from mountdl.descriptors import parse
from mountdl.descriptors.model import Magnet, Torrent
from tests.support import torrents
from tests.support.content import pattern
from tests.support.samples import metalink3, metalink4

needs_aria2 = pytest.mark.skipif(shutil.which("aria2c") is None, reason="needs aria2c")
needs_rhash = pytest.mark.skipif(shutil.which("rhash") is None, reason="needs rhash")
LENGTH = 16384


@pytest.fixture
def libtorrent() -> Any:
    return pytest.importorskip("libtorrent")


def aria2(path: Path) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(["aria2c", "-S", path], capture_output=True, text=True, check=True, env=environment).stdout


def listed(said: str) -> dict[str, int]:
    """Return the files that `aria2c -S` lists."""
    found = re.findall(r"^ +\d+\|(.*)\n +\|.*?\(?([\d,]+)B?\)?$", said, re.MULTILINE)
    return {path.removeprefix("./"): int(size.replace(",", "")) for path, size in found}


# Metalinks


def metalink(chance: random.Random, *, version: int) -> str:
    """Make a document with everything in it that does not count: foreign, nested, unknown, in any order."""
    noise = ["<publisher><url>http://p/</url></publisher>", "<x:alternates xmlns:x='http://x'><size>9</size></x:alternates>",
             "<!-- <size>8</size> -->", "<unknown><file name='no'><size>7</size></file></unknown>", "<description>d</description>"]  # fmt: skip
    files = []
    for number in range(chance.randrange(1, 6)):
        size = chance.choice([0, 1, 2**31, 2**53, chance.randrange(10**12)])
        # Of names, aria2 1.36 shows an ampersand as a reference; padded values it can't read at all.
        name = chance.choice(["a b", "ü€", "d/e/f", "..x", "C:", ".hidden", "a'b", "x.iso"]) + str(number)
        hashes = "".join(f"<hash type='{kind}'>{'0' * length}</hash>" for kind, length in (("md5", 32), ("sha-1", 40)))
        urls = "".join(f"<url priority='{chance.randrange(1, 999999)}'>http://h{n}/x</url>" for n in range(2))
        parts = [f"<size>{size}</size>", hashes, urls, *chance.sample(noise, 2)]
        if version == 3:
            urls = "".join(
                f"<url type='http' preference='{chance.randrange(1, 100)}'>http://h{n}/x</url>" for n in range(2)
            )
            parts = [f"<size>{size}</size>", f"<verification>{hashes}</verification>", f"<resources>{urls}</resources>"]
            parts += chance.sample(noise, 2)
        chance.shuffle(parts)
        files.append(f'<file name="{name}">{"".join(parts)}</file>')
    if version == 4:
        return f'<metalink xmlns="urn:ietf:params:xml:ns:metalink">{"".join(files)}</metalink>'
    return f'<metalink version="3.0" xmlns="http://www.metalinker.org/"><files>{"".join(files)}</files></metalink>'


@needs_aria2
@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("seed", range(6))
def test_aria2_lists_the_same_files(tmp_path: Path, seed: int, version: int) -> None:
    """Names and sizes, in order, whatever stands between."""
    text = f'<?xml version="1.0"?>{metalink(random.Random(seed), version=version)}'
    path = tmp_path / "x.meta4"
    path.write_text(text)

    expected = {str(entry.path): entry.size for entry in parse(path.name, text.encode()).entries}
    assert expected
    assert list(listed(aria2(path)).items()) == list(expected.items())


@needs_aria2
def test_aria2_reads_the_documents_of_the_other_tests(tmp_path: Path) -> None:
    """Those that mounts are tested with are what others understand, too."""
    data = pattern(100_000)
    for name, text in {
        "a.meta4": metalink4("a", data, ["http://h/a"]),
        "b.metalink": metalink3("b", data, ["http://h/b"]),
    }.items():
        (tmp_path / name).write_text(text)
        assert listed(aria2(tmp_path / name)) == {name[0]: len(data)}


# Torrents


def files(chance: random.Random) -> dict[str, bytes]:
    sizes = [chance.choice([0, 1, LENGTH, chance.randrange(5 * LENGTH)]) for _ in range(chance.randrange(1, 5))]
    found = {f"d{number % 2}/f{number} ü": chance.randbytes(size) for number, size in enumerate(sizes)}
    found["last"] = b"x" * 5
    return found


def some_torrent(chance: random.Random, kind: str) -> bytes:
    contents = files(chance)
    root = {"info": torrents.several(contents, LENGTH)} if kind == "version 1" else torrents.version_2(contents, LENGTH)
    if kind == "both":
        padded: dict[str, bytes] = {}
        for number, (name, data) in enumerate(sorted(contents.items())):
            padded[name] = data
            if -len(data) % LENGTH and number + 1 < len(contents):
                padded[f".pad/{number}"] = bytes(-len(data) % LENGTH)
        root["info"] = {**root["info"], **torrents.several(padded, LENGTH)}  # type: ignore[dict-item]
    trackers = [["http://t1/a", "udp://t2:80/b"], ["http://t3/c"]]
    more = {
        "announce": "http://t1/a",
        "announce-list": trackers,
        "url-list": ["http://w/x/", "http://v/"],
        "comment": "c",
    }
    return torrents.encode(torrents.tidy({**root, **more}))


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", ["version 1", "version 2", "both"])
@pytest.mark.parametrize("seed", range(6))
def test_libtorrent_reads_the_same_torrent(libtorrent: Any, seed: int, kind: str) -> None:
    """Info-hashes, files with their offsets, pieces, trackers, web seeds."""
    data = some_torrent(random.Random(seed), kind)
    ours = parse("x.torrent", data).torrent
    assert ours is not None
    theirs = libtorrent.torrent_info(libtorrent.bdecode(data))
    hashes, layout = theirs.info_hashes(), theirs.files()

    assert ours.info_hash_v1 == (hashes.v1.to_bytes() if hashes.has_v1() else None)
    assert ours.info_hash_v2 == (hashes.v2.to_bytes() if hashes.has_v2() else None)
    assert (ours.piece_length, ours.private) == (theirs.piece_length(), theirs.priv())
    shown = [i for i in range(layout.num_files()) if not layout.file_flags(i) & libtorrent.file_storage.flag_pad_file]
    assert [(str(file.path), file.size) for file in ours.files] == [
        (layout.file_path(i), layout.file_size(i)) for i in shown
    ]
    if kind != "version 2":
        # Where there is version 1, offsets and pieces are those of its row of files.
        assert [file.offset for file in ours.files] == [layout.file_offset(i) for i in shown]
        assert ours.piece_count == theirs.num_pieces()
    assert [file.root for file in ours.files if file.root] == [
        layout.root(i).to_bytes() for i in shown if hashes.has_v2() and layout.file_size(i)
    ]
    assert sorted(tracker for tier in ours.trackers for tracker in tier) == sorted(
        {each.url for each in theirs.trackers()}
    )
    assert {seed["url"] for seed in theirs.web_seeds()} == {"http://w/x/", "http://v/"}
    for file in ours.files:
        assert file.urls == tuple(f"{base}{quote(str(file.path))}" for base in ("http://w/x/", "http://v/"))


@needs_aria2
@pytest.mark.parametrize("seed", range(3))
def test_aria2_reads_the_same_torrent(tmp_path: Path, seed: int) -> None:
    """Of version 1 only, with keys in order: what aria2 writes again it hashes wrongly."""
    data = some_torrent(random.Random(seed), "version 1")
    (tmp_path / "x.torrent").write_bytes(data)
    said = aria2(tmp_path / "x.torrent")
    ours = parse("x.torrent", data).torrent
    assert isinstance(ours, Torrent)
    assert ours.info_hash_v1 is not None

    assert f"Info Hash: {ours.info_hash_v1.hex()}\n" in said
    assert f"The Number of Pieces: {ours.piece_count}\n" in said
    assert listed(said) == {str(file.path): file.size for file in ours.files}


# Magnets


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("seed", range(20))
def test_libtorrent_reads_the_same_magnet(libtorrent: Any, seed: int) -> None:
    """Info-hashes in hexadecimal and base32, names, trackers, web seeds, peers, selection.

    Kept clear of: `+`, which libtorrent takes for a blank everywhere, `&amp;`, and topics in upper case.
    """
    chance = random.Random(seed)
    one, two = chance.randbytes(20), chance.randbytes(32)
    topics = [f"urn:btih:{one.hex()}", f"urn:btih:{base64.b32encode(one).decode()}", f"urn:btmh:1220{two.hex()}"]
    parts = [f"xt={topic}" for topic in chance.sample(topics, chance.randrange(1, 3))]
    parts += chance.sample(
        ["dn=a%20b%C3%BC", "tr=http%3A%2F%2Ft%2Fa", "tr.1=udp%3A%2F%2Ft%3A80", "ws=http%3A%2F%2Fw%2Fx%20y", "x.pe=1.2.3.4:5", "so=0,2-4", "xl=5", "kt=x", "unknown=1"],
        chance.randrange(9),
    )  # fmt: skip
    chance.shuffle(parts)
    link = f"magnet:?{'&'.join(parts)}"
    [ours] = parse("x.magnet", link.encode()).magnets
    theirs = libtorrent.parse_magnet_uri(link)
    hashes = theirs.info_hashes

    assert isinstance(ours, Magnet)
    assert ours.btih == (hashes.v1.to_bytes() if hashes.has_v1() else None)
    assert ours.btmh == (hashes.v2.to_bytes() if hashes.has_v2() else None)
    if theirs.name:
        assert ours.name == theirs.name
    assert list(ours.trackers) == list(theirs.trackers)
    assert [url.replace("%20", " ") for url in ours.web_seeds] == list(theirs.url_seeds)
    assert [f"{host}:{port}" for host, port in theirs.peers] == list(ours.peers)
    wanted = tuple(index for index, priority in enumerate(theirs.file_priorities) if priority)
    assert ours.select == (wanted or None)


# Digests


@needs_rhash
@pytest.mark.parametrize(
    "size", [0, 1, 1023, 1024, 1025, 184_320, 184_321, 9_727_999, 9_728_000, 9_728_001, 19_456_000]
)
def test_rhash_computes_the_same(tmp_path: Path, size: int) -> None:
    """Around the ends of leaves and parts, each by our own hashers as `mountdl.digests` chooses them."""
    data = pattern(size, seed=size)
    (tmp_path / "f").write_bytes(data)
    names = list(digests.LENGTHS)
    said = subprocess.run(
        ["rhash", "-p", " ".join(f"%x{{{name}}}" for name in names), tmp_path / "f"],
        capture_output=True,
        text=True,
        check=True,
    )
    for name, value in zip(names, said.stdout.split(), strict=True):
        made = digests.hasher(name)
        for at in range(0, size, 1_000_003):
            made.update(data[at : at + 1_000_003])
        assert made.digest().hex() == value, name
    link = subprocess.run(
        ["rhash", "--magnet", "--sha1", "--tth", "--ed2k", "--aich", "--md5", tmp_path / "f"],
        capture_output=True,
        check=True,
    )
    [magnet] = parse("x.magnet", link.stdout.replace(b"magnet:?", b"magnet:?as=http%3A%2F%2Fh%2Ff&")).magnets
    assert magnet.digests["sha-1"] == hashlib.sha1(data).digest()
    assert {"tth", "ed2k", "aich", "md5"} <= magnet.digests.keys()
    assert magnet.size == size
