"""How urgently bytes are wanted."""

from enum import IntEnum


class Priority(IntEnum):
    """Who wants the bytes; the lower value goes first."""

    READ = 0
    """A reader waits for them now."""
    READAHEAD = 1
    """A reader will want them soon, by its past."""
    BACKGROUND = 2
    """Nobody waits: the rest of a file in idle bandwidth."""
