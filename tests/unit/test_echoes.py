"""The kernel's second question after a failed readahead."""

from __future__ import annotations

from mountdl.errors import ContentUnavailable
from mountdl.extents import Extent
from mountdl.filesystem.echoes import ECHO, Echoes

ERROR = ContentUnavailable("no source answers")


def test_the_kernels_further_questions_are_answered_at_once_and_no_more() -> None:
    """It asks a second time after its readahead, and a third time for a page that is mapped."""
    echoes = Echoes()
    echoes.add(Extent(0, 100), 5.0, ERROR, 3)

    assert echoes.take(Extent(0, 10), 5.0, 1) is ERROR
    assert echoes.take(Extent(0, 10), 5.0, 1) is ERROR
    assert echoes.take(Extent(0, 10), 5.0, 1) is None


def test_other_bytes_and_later_reads_wait_for_themselves() -> None:
    echoes = Echoes()
    echoes.add(Extent(0, 100), 5.0, ERROR, 3)

    assert echoes.take(Extent(90, 110), 5.0, 1) is None
    assert echoes.take(Extent(0, 10), 5.0 + ECHO, 1) is None


def test_several_failures_each_have_one() -> None:
    echoes = Echoes()
    echoes.add(Extent(0, 100), 5.0, ERROR, 3)
    echoes.add(Extent(100, 200), 5.1, other := ContentUnavailable("late"), 3)

    assert echoes.take(Extent(100, 110), 5.2, 1) is other
    assert echoes.take(Extent(0, 10), 5.2, 1) is ERROR


def test_hundreds_that_fail_together_each_have_one() -> None:
    """Those beyond the sixteenth waited their time-out twice."""
    echoes, pages = Echoes(), [Extent(at, at + 10) for at in range(0, 9000, 10)]
    for page in pages:
        echoes.add(page, 5.0, ERROR, 3)

    assert all(echoes.take(page, 5.1, 1) is ERROR for page in pages)


def test_all_who_have_the_file_open_share_them() -> None:
    """The kernel has one wait for a page that another reads, and asks for it then; each is answered as often."""
    echoes = Echoes()
    echoes.add(Extent(0, 100), 5.0, ERROR, 3)

    assert all(echoes.take(Extent(0, 10), 5.1, who) is ERROR for who in (1, 2, 3, 1, 2, 3))
    assert not any(echoes.take(Extent(0, 10), 5.1, who) for who in (1, 2, 3))


def test_who_opens_the_file_afterwards_waits_for_himself() -> None:
    """A mirror may have come meanwhile."""
    echoes = Echoes()
    echoes.add(Extent(0, 100), 5.0, ERROR, 3)

    assert echoes.take(Extent(0, 10), 5.1, 4) is None
