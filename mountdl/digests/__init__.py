"""Digests that hashlib lacks and magnet links need: MD4, Tiger, tiger tree, eD2k, AICH.

`LENGTHS` gives the bytes of each, `hasher` a fresh one: RHash's library where the system has it, else Python. They are
rare: what makes them is loaded with the first one.
"""

from mountdl.digests.hashers import Hasher

__all__ = ["LENGTHS", "Hasher", "alternative", "hasher"]

LENGTHS = {"tth": 24, "aich": 20, "tiger": 24, "ed2k": 16, "md4": 16}
"""Bytes of each algorithm's digest, the most trusted algorithm first."""


def hasher(algorithm: str) -> Hasher:
    """Return a fresh hasher of *algorithm*. KeyError for one that is not in `LENGTHS`."""
    if algorithm not in LENGTHS:
        raise KeyError(algorithm)
    from mountdl.digests import librhash, trees

    # SHA-1 of hashlib is faster than RHash's own, so AICH is made of it in any case.
    if algorithm == "aich":
        return trees.Aich()
    if librhash.available():
        return librhash.RhashHasher(algorithm)
    return _in_python(algorithm)


def alternative(algorithm: str, size: int) -> Hasher | None:
    """Return a hasher of the other digest that *algorithm* may mean of *size* bytes, None where there is only one.

    Links to files that end with a whole part of eDonkey have either of two eD2k hashes, and some generators
    of metalinks called the root of a tiger tree "tiger".
    """
    if algorithm == "ed2k":
        from mountdl.digests import trees

        return trees.Ed2k(_new_md4, plain=True) if size and size % trees.PART == 0 else None
    return hasher("tth") if algorithm == "tiger" else None


def _new_md4() -> Hasher:
    from mountdl.digests import librhash
    from mountdl.digests.md4 import Md4

    return librhash.RhashHasher("md4") if librhash.available() else Md4()


def _in_python(algorithm: str) -> Hasher:
    from mountdl.digests.md4 import Md4
    from mountdl.digests.tiger import Tiger
    from mountdl.digests.trees import Ed2k, TigerTree

    if algorithm == "tth":
        return TigerTree(Tiger)
    if algorithm == "tiger":
        return Tiger()
    return Ed2k(Md4) if algorithm == "ed2k" else Md4()
