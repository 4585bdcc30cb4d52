"""What sources of tests do wrong."""

from __future__ import annotations

from collections.abc import Callable

from mountdl.errors import SourceMismatch, SourceUnavailable
from tests.support.fakes import FakeSource

Fault = Callable[[FakeSource, int], bytes | None]


def lying(*offsets: int) -> Fault:
    """Send wrong bytes in the steps that begin at *offsets*; at all of them if none is given."""

    def fault(source: FakeSource, offset: int) -> bytes | None:
        return b"?" * source.step if not offsets or offset in offsets else None

    return fault


def dying(after: int) -> Fault:
    """Reset every connection at the first step from offset *after* on."""

    def fault(source: FakeSource, offset: int) -> bytes | None:
        if offset >= after:
            raise SourceUnavailable(source.name, "connection reset")
        return None

    return fault


def shrinking(size: int) -> Fault:
    """Have become *size* bytes long."""

    def fault(source: FakeSource, offset: int) -> bytes | None:
        if offset >= size:
            raise SourceMismatch(source.name, f"has {size} bytes now, not {len(source.data)}")
        return None

    return fault


def stalling(after: int) -> Fault:
    """Fall silent, connections left open, from the first step at offset *after* or beyond."""

    def fault(source: FakeSource, offset: int) -> bytes | None:
        if offset >= after:
            source.pause = 1e6
            return b""
        return None

    return fault


def timing_out(after: int) -> Fault:
    """Fall silent as `stalling` does, and give up after ten seconds, as mirrors do."""

    def fault(source: FakeSource, offset: int) -> bytes | None:
        if offset < after:
            return None
        if source.pause == 10 and offset not in {extent.start for extent, _ in source.fetched}:
            raise SourceUnavailable(source.name, "nothing came for 10 s")
        source.pause = 10
        return b""

    return fault
