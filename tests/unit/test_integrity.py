"""Digests and chunk maps."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl import digests
from mountdl.extents import Extent
from mountdl.integrity import (
    ALGORITHMS,
    PIECE_ALGORITHMS,
    ChunkMap,
    Digest,
    WholeCheck,
    canonical,
    digest_length,
    hasher,
    strength,
    strongest,
)

maps = st.builds(ChunkMap, size=st.integers(0, 60), length=st.integers(1, 17))
extents = st.tuples(st.integers(0, 70), st.integers(0, 70)).map(lambda pair: Extent(min(pair), max(pair)))


def chunks_of(chunk_map: ChunkMap) -> dict[int, set[int]]:
    return {i: set(range(chunk_map.extent(i).start, chunk_map.extent(i).stop)) for i in range(chunk_map.count)}


@given(maps)
def test_chunks_part_the_content(chunk_map: ChunkMap) -> None:
    """Chunks follow one another without gaps; only the last may be short, none is empty."""
    cut = [chunk_map.extent(i) for i in range(chunk_map.count)]

    assert list(range(chunk_map.size)) == [offset for extent in cut for offset in range(extent.start, extent.stop)]
    assert all(extent.length == chunk_map.length for extent in cut[:-1])
    assert all(cut)


@given(maps, extents)
def test_touching_within_and_cover_agree_with_sets(chunk_map: ChunkMap, asked: Extent) -> None:
    """Touching chunks share a byte with the extent, chunks within lie wholly in it, cover is the touching ones."""
    asked = asked.clip(chunk_map.size)
    wanted = set(range(asked.start, asked.stop))
    chunks = chunks_of(chunk_map)
    touching = [i for i, chunk in chunks.items() if chunk & wanted]

    assert touching == list(chunk_map.touching(asked))
    assert [i for i, chunk in chunks.items() if chunk <= wanted] == list(chunk_map.within(asked))
    if asked:
        cover = chunk_map.cover(asked)
        assert set().union(*(chunks[i] for i in touching)) == set(range(cover.start, cover.stop))


@given(st.binary(max_size=40), st.integers(1, 9))
def test_a_chunk_matches_its_own_bytes_only(data: bytes, length: int) -> None:
    """Each chunk's bytes match its digest; altered ones do not."""
    parts = [data[i : i + length] for i in range(0, len(data), length)]
    packed = b"".join(hashlib.sha1(part, usedforsecurity=False).digest() for part in parts)
    chunk_map = ChunkMap(len(data), length, "sha-1", packed)

    for index, part in enumerate(parts):
        assert chunk_map.matches(index, part)
        assert not chunk_map.matches(index, bytes([part[0] ^ 1]) + part[1:])
        assert chunk_map.expected(index) == Digest("sha-1", hashlib.sha1(part, usedforsecurity=False).digest())


def test_without_digests_every_chunk_matches() -> None:
    """A map without an algorithm only cuts."""
    chunk_map = ChunkMap(10, 4)

    assert chunk_map.matches(0, b"anything")
    assert chunk_map.expected(0) is None


@pytest.mark.parametrize(
    ("size", "length", "algorithm", "digests"),
    [(1, 0, None, b""), (-1, 4, None, b""), (9, 4, "md5", bytes(32)), (8, 4, "md5", bytes(33))],
)
def test_a_map_that_does_not_fit_is_refused(size: int, length: int, algorithm: str | None, digests: bytes) -> None:
    """There is one digest a chunk, and chunks have at least one byte."""
    with pytest.raises(ValueError):
        ChunkMap(size, length, algorithm, digests)


def test_a_fingerprint_tells_maps_apart() -> None:
    """Equal maps share a fingerprint; another cut, algorithm or digest gives another."""
    one = ChunkMap(8, 4, "md5", bytes(32))
    others = [ChunkMap(8, 4), ChunkMap(8, 5), ChunkMap(8, 4, "md5", b"\1" * 32), ChunkMap(7, 4, "md5", bytes(32))]

    assert one.fingerprint == ChunkMap(8, 4, "md5", bytes(32)).fingerprint
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 5


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_digest_has_its_algorithms_length(algorithm: str) -> None:
    """What a hasher gives is as long as the table says."""
    check = hasher(algorithm)
    check.update(b"0123456789")

    assert len(check.digest()) == digest_length(algorithm)


def test_the_strongest_digest_that_verifies_is_chosen() -> None:
    """Unknown algorithms verify nothing, however long their digest is."""
    assert strongest({"md5": b"m", "sha-1": b"s", "crc-512": b"c" * 64}) == Digest("sha-1", b"s")
    assert strongest({"crc32": b"1234"}) is None
    assert strength("sha-256") > strength("md5") > strength("crc32")


@pytest.mark.parametrize(
    ("name", "registered"), [("SHA1", "sha-1"), ("sha_256", "sha-256"), (" MD5 ", "md5"), ("Tiger", "tiger")]
)
def test_names_are_brought_to_one_spelling(name: str, registered: str) -> None:
    """Descriptors spell algorithms in many ways."""
    assert canonical(name) == registered


def test_the_order_of_trust_among_weak_and_own_digests() -> None:
    """SHA-1, then the trees, then what is broken: MD5, eD2k, MD4."""
    ranked = sorted(["md4", "md5", "ed2k", "aich", "tth", "sha-1", "tiger"], key=strength, reverse=True)

    assert ranked == ["sha-1", "tth", "aich", "tiger", "md5", "ed2k", "md4"]
    assert {"tth", "aich", "ed2k", "tiger", "md4"}.isdisjoint(PIECE_ALGORITHMS)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_whole_is_judged_by_any_algorithm(algorithm: str) -> None:
    """In portions; one other byte is another file."""
    made = hasher(algorithm)
    made.update(b"0123456789")
    good, bad = (WholeCheck(Digest(algorithm, made.digest()), 10) for _ in range(2))
    good.update(b"01234")
    good.update(b"56789")
    bad.update(b"0123456780")

    assert good.verified
    assert good.digest() == made.digest()
    assert not bad.verified
    assert len(bad.digest()) == digest_length(algorithm)


@pytest.mark.parametrize("plain", [False, True])
def test_a_whole_may_have_either_ed2k_digest(plain: bool) -> None:
    """Of a file that ends with a whole part, eMule's and the older one."""
    data = bytes(digests.PART)
    made = digests.alternative("ed2k", len(data)) if plain else hasher("ed2k")
    assert made is not None
    made.update(data)
    check = WholeCheck(Digest("ed2k", made.digest()), len(data))
    check.update(data)

    assert check.verified


def test_what_is_called_tiger_may_be_the_tree() -> None:
    """Both are 24 bytes, and generators mixed them up."""
    tree = hasher("tth")
    tree.update(b"0123456789")
    check = WholeCheck(Digest("tiger", tree.digest()), 10)
    check.update(b"0123456789")

    assert check.verified
