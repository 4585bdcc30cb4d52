"""MD4, Tiger, tiger tree, eD2k and AICH: known values, RHash's library as oracle, any portions."""

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mountdl import digests
from mountdl.digests import librhash
from mountdl.digests.hashers import Hasher
from mountdl.digests.md4 import Md4
from mountdl.digests.tiger import Tiger
from mountdl.digests.trees import Aich, Ed2k, TigerTree

PART = 9_728_000
BLOCK = 184_320

PYTHON = {"md4": Md4, "tiger": Tiger, "tth": lambda: TigerTree(Tiger), "ed2k": lambda: Ed2k(Md4), "aich": Aich}
needs_library = pytest.mark.skipif(not librhash.available(), reason="needs librhash")


def digest(made: Hasher, *portions: bytes) -> bytes:
    for portion in portions:
        made.update(portion)
    return made.digest()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"message digest", "d9130a8164549fe818874806e1c7014b"),
        (b"1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_md4(text, value):
    """RFC 1320, appendix A.5; short files' eD2k hash is the same."""
    assert digest(Md4(), text).hex() == value
    assert digest(Ed2k(Md4), text).hex() == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"", "3293ac630c13f0245f92bbb1766e16167a4e58492dde73f3"),
        (b"abc", "2aab1484e8c158f2bfb8c5ff41b57a525129131c957b5f93"),
        (b"Tiger", "dd00230799f5009fec6debc838bb6a27df2b9d6f110c7937"),
    ],
)
def test_tiger(text, value):
    """Its authors' examples."""
    assert digest(Tiger(), text).hex() == value


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"", "LWPNACQDBZRYXW3VHJVCJ64QBZNGHOHHHZWCLNQ"), (b"abc", "ASD4UJSEH5M47PDYB46KBTSQTSGDKLBHYXOMUIA")],
)
def test_tiger_tree(text, value):
    assert base64.b32encode(digest(TigerTree(Tiger), text)).decode().rstrip("=") == value


@needs_library
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 3 * 1024 + 1, 7 * 1024, 100_000])
@pytest.mark.parametrize("algorithm", PYTHON)
def test_as_rhash_computes_them(algorithm, size):
    data = bytes(place * 7 & 255 for place in range(size))
    assert digest(PYTHON[algorithm](), data) == digest(librhash.RhashHasher(algorithm), data)


SIZES = [
    BLOCK - 1,
    BLOCK,
    BLOCK + 1,
    5 * BLOCK,
    PART - 1,
    PART,
    PART + 1,
    PART + BLOCK,
    2 * PART,
    2 * PART + 1,
    3 * PART - 5,
    3 * PART,
    5 * PART + 7 * BLOCK + 9,
]


@needs_library
@pytest.mark.parametrize("size", SIZES)
def test_aich_as_rhash_computes_it(size):
    """Around the ends of blocks and parts, where the tree's shape changes."""
    data = bytes(range(251)) * (size // 251 + 1)
    assert digest(Aich(), data[:size]) == digest(librhash.RhashHasher("aich"), data[:size])


@needs_library
@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 1])
def test_ed2k_as_rhash_computes_it(size):
    """Around the ends of parts."""
    data = bytes(range(251)) * (size // 251 + 1)
    made = Ed2k(lambda: librhash.RhashHasher("md4"))
    assert digest(made, data[:size]) == digest(librhash.RhashHasher("ed2k"), data[:size])


@needs_library
def test_the_other_ed2k_hash_of_whole_parts():
    """Old links leave out the empty part behind the last whole one: of one part only, that is its MD4."""
    data = bytes(PART)
    other = digests.alternative("ed2k", 2 * PART)
    assert other is not None
    assert digest(other, data) == digest(librhash.RhashHasher("md4"), data)
    assert digest(digests.hasher("ed2k"), data) != digest(librhash.RhashHasher("md4"), data)
    assert digests.alternative("ed2k", 2 * PART - 1) is None
    assert digests.alternative("ed2k", 0) is None
    assert digests.alternative("tth", PART) is None


@settings(max_examples=60)
@given(st.sampled_from(sorted(PYTHON)), st.lists(st.binary(max_size=2500), max_size=5))
def test_portions_do_not_matter(algorithm, portions):
    """Nor what holds them, nor that a digest was asked for in between."""
    made = PYTHON[algorithm]()
    for portion in portions:
        made.update(memoryview(bytearray(portion)))
        made.digest()
    assert made.digest() == digest(PYTHON[algorithm](), b"".join(portions))


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("algorithm", digests.LENGTHS)
def test_hashers(algorithm, library, monkeypatch):
    """The same with and without the library."""
    if not library:
        monkeypatch.setattr(librhash, "available", lambda: False)
    found = digest(digests.hasher(algorithm), b"abc", bytearray(b"d"))
    assert len(found) == digests.LENGTHS[algorithm]
    assert found == digest(PYTHON[algorithm](), b"abcd")


def test_an_unknown_algorithm():
    with pytest.raises(KeyError):
        digests.hasher("sha-1")


@needs_library
def test_a_hasher_of_the_library_is_done_after_its_digest():
    made = librhash.RhashHasher("md4")
    assert made.digest() == made.digest()
    with pytest.raises(ValueError, match="already"):
        made.update(b"x")


def test_python_is_not_hopeless():
    """A megabyte in at most a few seconds, also on a slow machine."""
    started = time.process_time()
    digest(TigerTree(Tiger), bytes(1 << 20))
    assert time.process_time() - started < 10
