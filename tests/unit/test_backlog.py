"""The order in which everything is completed, and what looking for it costs."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.content import Content, ContentKey
from mountdl.engine.backlog import AT_ONCE, LOOKED_AT, REST, SMALL, SMALL_AT_ONCE, STEP, Backlog, roomy
from tests.support.content import content

SHOWN = content(b"0123456789")


def contents(count: int) -> list[Content]:
    return [replace(SHOWN, key=ContentKey(f"{number:06}")) for number in range(count)]


@given(count=st.integers(0, 3 * LOOKED_AT), taken=st.lists(st.integers(0, LOOKED_AT)))
def test_every_content_comes_once_a_round_and_in_order(count: int, taken: list[int]) -> None:
    """However many of a step are taken: what is left comes with the next one."""
    backlog, got = Backlog(), []
    backlog.renew(contents(count))
    for most in [*taken, *[LOOKED_AT] * 4]:
        steps = backlog.step(0.0)
        got += islice(steps, most)

    assert got == contents(count)


def test_a_large_catalog_is_looked_at_again_only_slowly() -> None:
    """Each second all of 100,000 cost more than a second."""
    backlog = Backlog()
    backlog.renew(contents(10 * LOOKED_AT))
    for _ in range(10):
        assert backlog.pause == STEP
        assert len(list(backlog.step(0.0))) == LOOKED_AT
    assert backlog.pause == REST
    assert list(backlog.step(LOOKED_AT / 100 - 0.1)) == []
    assert next(backlog.step(LOOKED_AT / 100 + 0.1)).key == "000000"


def test_what_is_shown_anew_is_looked_at_at_once() -> None:
    backlog = Backlog()
    backlog.renew(contents(3))
    assert len(list(backlog.step(0.0))) == 3
    backlog.renew(contents(2))
    assert len(list(backlog.step(0.0))) == 2


@pytest.mark.parametrize(
    ("running", "room"),
    [
        ([], True),
        ([SMALL], True),
        ([SMALL] * AT_ONCE, False),
        ([10] * AT_ONCE, True),
        ([10] * SMALL_AT_ONCE, False),
        ([10, 10, SMALL], False),
    ],
)
def test_small_files_go_side_by_side(running: list[int], room: bool) -> None:
    """Two large ones fill a line; two small ones leave it idle between question and answer."""
    assert roomy(running) is room
