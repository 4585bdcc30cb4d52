"""The samples are the same everywhere, and their metalinks are what mountdl reads."""

from __future__ import annotations

import hashlib

from mountdl.content import Level, content_of
from mountdl.demo import samples
from mountdl.descriptors import parse


def test_samples_are_deterministic() -> None:
    """Two runs make the same bytes, 20 to 40 MB each."""
    first, second = samples.make_samples(), samples.make_samples()

    assert first == second
    assert all(20_000_000 < len(sample.data) < 40_000_000 for sample in first)


def test_the_disc_has_a_few_dozen_files() -> None:
    """In several directories."""
    files = samples.disc_files()

    assert 24 < len(files) < 100
    assert len({path.parent for path in files}) > 5


def test_a_metalink_describes_its_sample() -> None:
    """Name, size, digests of whole and pieces, and the mirrors in order, without a caution."""
    sample = samples.Sample("sample.bin", b"0123456789" * 77_777)

    descriptor = parse("x.meta4", samples.metalink(sample, ["http://127.0.0.1:1/a", "http://127.0.0.1:2/a"]).encode())

    [entry] = descriptor.entries
    content = content_of(entry, len(sample.data))
    chunks = content.chunk_map
    assert (sample.name, len(sample.data)) == (str(entry.path), entry.size)
    assert hashlib.sha256(sample.data).digest() == entry.digests["sha-256"]
    assert (content.level, chunks.length) == (Level.CHUNK, samples.PIECE_LENGTH)
    assert all(
        chunks.matches(index, sample.data[chunks.extent(index).start : chunks.extent(index).stop])
        for index in range(chunks.count)
    )
    assert [mirror.url for mirror in content.mirrors] == ["http://127.0.0.1:1/a", "http://127.0.0.1:2/a"]
    assert tuple(descriptor.cautions) == ()


def test_a_torrent_describes_its_sample() -> None:
    """Name, size, digests of pieces, and the mirrors as web seeds; nobody is told of it."""
    sample = samples.Sample("sample.bin", b"0123456789" * 77_777)

    descriptor = parse("x.torrent", samples.torrent(sample, ["http://127.0.0.1:1/a", "http://127.0.0.1:2/a"]))

    [entry] = descriptor.entries
    content = content_of(entry, len(sample.data))
    assert (sample.name, len(sample.data)) == (str(entry.path), entry.size)
    assert (content.level, content.chunk_map.length) == (Level.CHUNK, samples.PIECE_LENGTH)
    assert content.chunk_map.matches(1, sample.data[samples.PIECE_LENGTH : 2 * samples.PIECE_LENGTH])
    assert [mirror.url for mirror in content.mirrors] == ["http://127.0.0.1:1/a", "http://127.0.0.1:2/a"]
    assert descriptor.torrent is not None
    assert descriptor.torrent.trackers == ()
    assert tuple(descriptor.cautions) == ()
