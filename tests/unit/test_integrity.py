"""Digests and chunk maps."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl import digests
from mountdl.digests import trees
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


@st.composite
def maps(draw: st.DrawFn) -> ChunkMap:
    """Of any cut: pieces that make a chunk or are one, beginning before the content and ending behind it."""
    size, piece, several = draw(st.integers(0, 60)), draw(st.integers(1, 9)), draw(st.integers(1, 4))
    lead, open_end = draw(st.integers(0, piece - 1)), draw(st.booleans())
    count = -(-(size + lead) // piece) if size else 0
    algorithm = draw(st.sampled_from([None, "md5"]))
    return ChunkMap(size, piece * several, algorithm, bytes(16 * count) if algorithm else b"", piece, lead, open_end)


extents = st.tuples(st.integers(0, 70), st.integers(0, 70)).map(lambda pair: Extent(min(pair), max(pair)))


def offsets(extent: Extent) -> set[int]:
    return set(range(extent.start, extent.stop))


def chunks_of(chunk_map: ChunkMap) -> dict[int, set[int]]:
    return {i: offsets(chunk_map.extent(i)) for i in range(chunk_map.count)}


@given(maps())
def test_chunks_part_the_content(chunk_map: ChunkMap) -> None:
    """Chunks follow one another without gaps; only the first and last may be short, none is empty."""
    cut = [chunk_map.extent(i) for i in range(chunk_map.count)]

    assert list(range(chunk_map.size)) == [offset for extent in cut for offset in range(extent.start, extent.stop)]
    assert all(extent.length == chunk_map.length for extent in cut[1:-1])
    assert all(cut)
    assert all(chunk_map.floor(offset) == extent.start for extent in cut for offset in offsets(extent))


@given(maps(), extents)
def test_touching_within_and_cover_agree_with_sets(chunk_map: ChunkMap, asked: Extent) -> None:
    """Touching chunks share a byte with the extent, chunks within lie wholly in it, cover is the touching ones."""
    asked = asked.clip(chunk_map.size)
    wanted = offsets(asked)
    chunks = chunks_of(chunk_map)
    touching = [i for i, chunk in chunks.items() if chunk & wanted]
    judged = [offsets(chunk_map.judged(i)) for i in chunks]

    assert touching == list(chunk_map.touching(asked))
    assert offsets(chunk_map.within(asked)) == set().union(*(part for part in judged if part <= wanted))
    if asked:
        cover = chunk_map.cover(asked)
        assert set().union(*(chunks[i] for i in touching)) == offsets(cover)


@given(maps())
def test_what_is_judged_is_sure(chunk_map: ChunkMap) -> None:
    """The parts of chunks that digests can tell are, together, the bytes that are sure: whole pieces."""
    sure = offsets(chunk_map.sure)

    assert set().union(*(offsets(chunk_map.judged(i)) for i in range(chunk_map.count))) == sure
    assert chunk_map.complete == (chunk_map.algorithm is not None and sure == set(range(chunk_map.size)))
    if sure:
        assert (chunk_map.sure.start + chunk_map.lead) % chunk_map.piece == 0
        assert chunk_map.sure.start < chunk_map.piece
        assert chunk_map.size - chunk_map.sure.stop < chunk_map.piece


@given(st.binary(max_size=60), st.integers(1, 9), st.integers(1, 4), st.data())
def test_a_chunk_matches_its_own_bytes_only(data: bytes, piece: int, several: int, chance: st.DataObject) -> None:
    """Of a file among neighbours: what can be judged matches, also in portions; any other byte is found out."""
    start = chance.draw(st.integers(0, len(data)))
    own = Extent(start, chance.draw(st.integers(start, len(data))))
    lead, stop = own.start % piece, -(-own.stop // piece) * piece
    parts = [data[at : at + piece] for at in range(own.start - lead, min(stop, len(data)) if own else 0, piece)]
    packed = b"".join(hashlib.sha1(part, usedforsecurity=False).digest() for part in parts)
    open_end = bool(own.stop % piece) and own.stop < len(data)
    chunk_map = ChunkMap(own.length, several * piece, "sha-1", packed if own else b"", piece, lead, open_end)

    for index in range(chunk_map.count):
        judged = chunk_map.judged(index)
        right = bytearray(data[own.start + judged.start : own.start + judged.stop])
        portions = chunk_map.check(index)
        for at in range(0, len(right), 4):
            portions.update(right[at : at + 4])
        assert chunk_map.matches(index, right)
        assert portions.verified
        if right:
            right[chance.draw(st.integers(0, len(right) - 1))] ^= 1
            assert not chunk_map.matches(index, right)


def test_without_digests_every_chunk_matches() -> None:
    """A map without an algorithm only cuts."""
    chunk_map = ChunkMap(10, 4)

    assert chunk_map.matches(0, b"anything")
    assert not chunk_map.sure


@pytest.mark.parametrize(
    ("size", "length", "algorithm", "digests"),
    [
        (1, 0, None, b""),
        (-1, 4, None, b""),
        (9, 4, "md5", bytes(32)),
        (8, 4, "md5", bytes(33)),
        (0, 4, "md5", bytes(16)),
    ],
)
def test_a_map_that_does_not_fit_is_refused(size: int, length: int, algorithm: str | None, digests: bytes) -> None:
    """There is one digest a chunk, and chunks have at least one byte."""
    with pytest.raises(ValueError):
        ChunkMap(size, length, algorithm, digests)


def test_a_fingerprint_tells_maps_apart() -> None:
    """Equal maps share a fingerprint; another cut, algorithm or digest gives another."""
    one = ChunkMap(8, 4, "md5", bytes(32))
    others = [ChunkMap(8, 4), ChunkMap(8, 5), ChunkMap(8, 4, "md5", b"\1" * 32), ChunkMap(7, 4, "md5", bytes(32))]

    others += [ChunkMap(8, 8, "md5", bytes(32), 4), ChunkMap(7, 4, "md5", bytes(32), lead=1)]
    others += [ChunkMap(7, 4, "md5", bytes(32), lead=1, open_end=True)]

    assert one.fingerprint == ChunkMap(8, 4, "md5", bytes(32)).fingerprint
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 8


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
    data = bytes(trees.PART)
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
