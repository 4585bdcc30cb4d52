"""Which of many a client asks for: `tellWaiting` and `tellStopped`. Pure."""

from collections.abc import Sequence
from typing import TypeVar

from mountdl.control.rpc.faults import Fault

T = TypeVar("T")

MOST = 10_000
"""Rows of one page; clients ask for a thousand."""


def page(rows: Sequence[T], offset: int, count: int) -> list[T]:
    """Return *count* of *rows* from *offset* on; from the end and backwards where that is below 0: -1 is the last.

    Of more than `MOST` the first are returned. Raises Fault for a *count* below 0.
    """
    if count < 0:
        raise Fault(f"Wrong number of downloads: {count}")
    count = min(count, MOST)
    if offset >= 0:
        return list(rows[offset : offset + count])
    last = len(rows) + offset
    if last < 0:
        return []
    return [rows[place] for place in range(last, max(-1, last - count), -1)]
