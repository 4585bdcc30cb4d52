"""The kernel's second question after a failed readahead."""

from __future__ import annotations

from mountdl.errors import ContentUnavailable
from mountdl.extents import Extent
from mountdl.filesystem.echoes import ECHO, Echoes

ERROR = ContentUnavailable("no source answers")


def test_the_kernels_second_question_is_answered_at_once_and_only_once() -> None:
    echoes = Echoes()
    echoes.add(Extent(0, 100), 5.0, ERROR)

    assert echoes.take(Extent(0, 10), 5.0) is ERROR
    assert echoes.take(Extent(0, 10), 5.0) is None


def test_other_bytes_and_later_reads_wait_for_themselves() -> None:
    echoes = Echoes()
    echoes.add(Extent(0, 100), 5.0, ERROR)

    assert echoes.take(Extent(90, 110), 5.0) is None
    assert echoes.take(Extent(0, 10), 5.0 + ECHO) is None


def test_several_failures_each_have_one() -> None:
    echoes = Echoes()
    echoes.add(Extent(0, 100), 5.0, ERROR)
    echoes.add(Extent(100, 200), 5.1, other := ContentUnavailable("late"))

    assert echoes.take(Extent(100, 110), 5.2) is other
    assert echoes.take(Extent(0, 10), 5.2) is ERROR
