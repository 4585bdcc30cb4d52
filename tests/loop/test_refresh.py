"""Dynamic metalinks follow their origins: seldom, one at a time, and never to the worse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import PurePosixPath as P

import pytest
import trio
import trio.testing

from mountdl.catalog import refresh
from mountdl.catalog.document import Document
from mountdl.catalog.refresh import Refresher
from mountdl.descriptors.model import Descriptor, Entry, MirrorRef
from mountdl.errors import DescriptorError, SourceUnavailable
from mountdl.sources.base import Version

HOUR = 3600.0
VERSION = Version('"1"')


def said(mirror: str = "http://h/old", *, name: str = "a", dynamic: bool = True) -> Descriptor:
    entry = Entry(P(name), 8, {"sha-1": bytes(20)}, mirrors=(MirrorRef(mirror),))
    return Descriptor("metalink4", (entry,), origin=f"http://o/{name}", dynamic=dynamic)


def document(name: str = "a", *, dynamic: bool = True) -> Document:
    return Document(f"{name}.meta4", 1, said(name=name, dynamic=dynamic))


class Origin:
    """Answers with *answers* in turn, the last one for ever; takes note of when and how it was asked."""

    def __init__(self, *answers: Descriptor | None | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[float, str, Version | None]] = []

    async def __call__(self, url: str, known: Version | None) -> tuple[Descriptor | None, Version]:
        self.asked.append((round(trio.current_time()), url, known))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer, VERSION


def run(origin: Origin, body: Callable[[Refresher, list[int]], Awaitable[None]]) -> list[float]:
    """Run *body* with a refresher on a clock that jumps; return when its origin was asked."""
    changes: list[int] = []

    async def main() -> None:
        refresher = Refresher(origin, lambda: changes.append(1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refresher.run)
            await body(refresher, changes)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return [when for when, _, _ in origin.asked]


def test_what_the_origin_says_is_shown() -> None:
    """Soon after it came, then each six hours; that it is unchanged is told by its version."""
    first = document()
    origin = Origin(said("http://h/new"), None)

    async def body(refresher: Refresher, changes: list[int]) -> None:
        refresher.follow({"a.meta4": first})
        assert refresher.shown(first) is first
        await trio.sleep(10)
        assert refresher.shown(first) == replace(first, said=said("http://h/new"))
        await trio.sleep(13 * HOUR)
        assert refresher.shown(first) == replace(first, said=said("http://h/new"))
        assert changes == [1]

    assert run(origin, body) == [2, 2 + 6 * HOUR, 2 + 12 * HOUR]
    assert [known for _, _, known in origin.asked] == [None, VERSION, VERSION]


@pytest.mark.parametrize(
    "answer",
    [SourceUnavailable("o", "answered 503"), DescriptorError("no-files", "empty"), said(name="other"), ValueError("x")],
    ids=["gone", "failure document", "unrelated", "a defect"],
)
def test_a_failure_changes_nothing_and_is_asked_for_less_often(
    answer: Descriptor | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Never worse than before."""
    if isinstance(answer, Descriptor):
        [entry] = answer.entries
        answer = replace(answer, entries=(replace(entry, digests={"sha-1": b"x" * 20}),))
    first = document()

    async def body(refresher: Refresher, changes: list[int]) -> None:
        refresher.follow({"a.meta4": first})
        await trio.sleep(80 * HOUR)
        assert refresher.shown(first) is first
        assert changes == []

    asked = run(Origin(answer), body)
    gaps = [round((b - a) / HOUR, 2) for a, b in zip(asked, asked[1:], strict=False)]
    assert gaps == ([24, 24, 24] if isinstance(answer, ValueError) else [0.25, 0.5, 1, 2, 4, 8, 16, 24, 24])
    caplog.clear()


def test_after_an_outage_all_is_as_before() -> None:
    """What could not be asked for is asked for soon, and then as seldom as ever."""
    origin = Origin(SourceUnavailable("o", "answered 503"), None)

    async def body(refresher: Refresher, changes: list[int]) -> None:
        refresher.follow({"a.meta4": document()})
        await trio.sleep(10 * HOUR)

    assert run(origin, body) == [2, 2 + HOUR / 4, 2 + HOUR / 4 + 6 * HOUR]


def test_a_file_that_changes_itself_is_believed_again() -> None:
    """What its origin said of an earlier one is forgotten; one that is gone or not dynamic is not asked for."""
    first, second = document(), document()
    origin = Origin(said("http://h/new"))

    async def body(refresher: Refresher, changes: list[int]) -> None:
        refresher.follow({"a.meta4": first, "b.meta4": document("b", dynamic=False)})
        await trio.sleep(10)
        refresher.follow({"a.meta4": second})
        assert refresher.shown(second) is second
        refresher.follow({})
        await trio.sleep(20 * HOUR)

    assert run(origin, body) == [2]


def test_many_are_asked_for_one_by_one() -> None:
    """A second apart, however many there are."""
    documents = {f"{number}.meta4": document(str(number)) for number in range(30)}
    origin = Origin(None)

    async def body(refresher: Refresher, changes: list[int]) -> None:
        refresher.follow(documents)
        await trio.sleep(HOUR)

    assert run(origin, body) == list(range(2, 32))
    assert len({url for _, url, _ in origin.asked}) == 30


def test_the_numbers_are_polite() -> None:
    assert refresh.INTERVAL >= HOUR
    assert refresh.PAUSE >= 1
