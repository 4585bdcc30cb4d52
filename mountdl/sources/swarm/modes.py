"""What libtorrent does with a torrent, and for how long it goes on with it unasked. Pure."""

from enum import Enum, auto

IDLE = 3.0
"""Seconds without a want after which it stops fetching."""
LINGER = 30.0
"""As long where mirrors serve too, after the last byte of theirs, as peers may come yet; and where it is fetched into
the store's own files, from which it gives all the while."""


class Mode(Enum):
    """What libtorrent does with it."""

    AWAY = auto()
    """Nothing: it is not in the session."""
    FETCHING = auto()
    GIVING = auto()


def fetched_enough(idle: float, *, patient: bool, whole: bool) -> bool:
    """Say whether to stop fetching what nobody has wanted for *idle* seconds; *whole*: there is nothing to fetch."""
    return whole or idle >= (LINGER if patient else IDLE)
