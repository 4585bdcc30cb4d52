"""What the store tells of itself at a glance, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glance:
    """How much of a content is here: bytes *written* (of which *verified*), *blocks* of 512 bytes on disk."""

    written: int
    verified: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Space:
    """The disk that holds the store, in bytes; *available* is what is left for this user."""

    total: int
    free: int
    available: int


NOTHING = Glance(0, 0, 0)
