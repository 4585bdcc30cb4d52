"""What every hasher here does."""

from typing import Protocol


class Hasher(Protocol):
    """What `hashlib` objects do, as far as it is used here."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take *data* in."""

    def digest(self) -> bytes:
        """Return the digest of all taken in so far."""
