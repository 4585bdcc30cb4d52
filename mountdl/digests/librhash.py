"""RHash's library, where the system has one: a hundred times as fast as Python, and it releases the lock.

Called by ctypes, because its binding in Python looks for one soname only. Nothing here fails where the
library is missing: `available` says so and the callers have code of their own.
"""

import ctypes
from functools import lru_cache

_SONAMES = ("librhash.so.1", "librhash.so.0")
# rhash.h, enum rhash_ids; the same in every version since 1.2.
_IDS = {"md4": 1 << 1, "tiger": 1 << 4, "tth": 1 << 5, "ed2k": 1 << 7, "aich": 1 << 8}
_WIDTHS = {"md4": 16, "tiger": 24, "tth": 24, "ed2k": 16, "aich": 20}
_RAW = 1


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    for name in _SONAMES:
        try:
            library = ctypes.CDLL(name)
            library.rhash_init.restype = ctypes.c_void_p
            library.rhash_init.argtypes = [ctypes.c_uint]
            library.rhash_update.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
            library.rhash_final.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
            library.rhash_print.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
            library.rhash_print.restype = ctypes.c_size_t
            library.rhash_free.argtypes = [ctypes.c_void_p]
            library.rhash_free.restype = None
            library.rhash_library_init()
        except (OSError, AttributeError):
            continue
        return library
    return None


def available() -> bool:
    """Say whether the library is there."""
    return _library() is not None


class RhashHasher:
    """A hasher like those of hashlib, but done after its digest was asked for."""

    def __init__(self, algorithm: str) -> None:
        library = _library()
        if library is None:
            raise RuntimeError("librhash is not there")
        self._library = library
        self._id = _IDS[algorithm]
        self._width = _WIDTHS[algorithm]
        self._digest: bytes | None = None
        self._context = library.rhash_init(self._id)
        if not self._context:
            raise MemoryError("librhash has no memory")

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take *data* in."""
        if self._digest is not None:
            raise ValueError("the digest was asked for already")
        given = bytes(data)
        self._library.rhash_update(self._context, given, len(given))

    def digest(self) -> bytes:
        """Return the digest of all taken in; no more can be."""
        if self._digest is None:
            self._library.rhash_final(self._context, None)
            raw = ctypes.create_string_buffer(64)
            self._library.rhash_print(raw, self._context, self._id, _RAW)
            self._digest = raw.raw[: self._width]
        return self._digest

    def __del__(self) -> None:
        context = getattr(self, "_context", None)
        if context:
            self._library.rhash_free(context)
            self._context = None
