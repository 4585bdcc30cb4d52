"""What clients added is fetched whole, a few at a time, and no more once it is complete, paused or gone."""

from pathlib import Path
from typing import cast

import pytest

from mountdl.control.rpc.adding import Addition
from mountdl.control.rpc.drop import Mark
from mountdl.control.rpc.keeper import AGAIN, AT_ONCE, Keeper
from mountdl.engine.engine import Engine
from tests.support.rpcs import Desk, metalink
from tests.support.turns import counting_turns


async def added(source: Path, count: int) -> tuple[Desk, Keeper]:
    """Return a desk that shows *count* files that clients added, and one that others put there."""
    desk = Desk(source)
    (source / "other.bin.meta4").write_bytes(metalink("other.bin", number=99))
    for number in range(count):
        name = f"{number}.bin"
        made = Addition(f"{name}.meta4", metalink(name, number=number), (name,))
        _, mark = desk.board.drop.put(made, f"{number + 1:016x}", float(number))
        desk.board.marks = {**desk.board.marks, made.name: mark}
    desk.show()
    return desk, Keeper(desk.board, cast("Engine", desk.engine))


async def look(desk: Desk, keeper: Keeper) -> list[str]:
    """Have *keeper* look once; return which files it began."""
    desk.engine.did.clear()
    await keeper._round(await desk.board.refresh())
    keys = [each[1] for each in desk.engine.did if isinstance(each, tuple) and each[0] == "download"]
    return [name for name in desk.shows() for key in keys if desk.outline(name).key == key]


async def test_a_few_at_a_time_in_their_order(source: Path) -> None:
    """One that is complete makes room for the next; what others put there waits for readers."""
    desk, keeper = await added(source, AT_ONCE + 3)

    assert await look(desk, keeper) == [f"{n}.bin" for n in range(AT_ONCE)]
    assert await look(desk, keeper) == []
    desk.engine.becomes(desk.outline("2.bin"), "complete", 1000)
    assert await look(desk, keeper) == [f"{AT_ONCE}.bin"]


async def test_what_fails_or_is_paused_holds_up_nobody(source: Path, clock: object) -> None:
    """A failed one is tried again later."""
    import trio

    desk, keeper = await added(source, AT_ONCE + 2)
    await look(desk, keeper)
    desk.engine.becomes(desk.outline("0.bin"), "error")
    desk.engine.pause(desk.outline("1.bin"), on=True)
    assert await look(desk, keeper) == [f"{n}.bin" for n in (AT_ONCE, AT_ONCE + 1)]
    for number in range(2, AT_ONCE + 2):
        desk.engine.becomes(desk.outline(f"{number}.bin"), "complete", 1000)
    await trio.sleep(AGAIN + 1)
    assert await look(desk, keeper) == ["0.bin"]


async def test_what_was_complete_once_stays_as_the_quota_has_it(source: Path) -> None:
    """Else two files that have no room side by side would be fetched for ever."""
    desk, keeper = await added(source, 1)
    desk.engine.becomes(desk.outline("0.bin"), "complete", 1000)
    assert await look(desk, keeper) == []
    desk.engine.becomes(desk.outline("0.bin"), "idle")
    assert await look(desk, keeper) == []


async def test_what_goes_is_wanted_no_more(source: Path) -> None:
    """The want is withdrawn; what is in the store stays."""
    desk, keeper = await added(source, 1)
    await look(desk, keeper)
    await desk.board.remove("1".zfill(16))
    await look(desk, keeper)

    assert [each[0] for each in desk.engine.did if isinstance(each, tuple)] == ["want"]


async def test_paused_from_the_first(source: Path) -> None:
    """As the client asked; it is not even begun."""
    desk, keeper = await added(source, 1)
    desk.board.paused_at_first.add("0.bin.meta4")

    assert await look(desk, keeper) == []
    assert desk.engine.paused(desk.outline("0.bin"))
    await desk.board.pause("1".zfill(16), on=False)
    assert await look(desk, keeper) == ["0.bin"]


async def test_a_store_that_refuses_is_asked_again_later(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is raised."""
    desk, keeper = await added(source, 1)
    desk.engine.fails = True
    assert await look(desk, keeper) == []
    desk.engine.fails = False
    assert await look(desk, keeper) == ["0.bin"]


async def test_many_that_are_paused_are_looked_at_in_turns(source: Path) -> None:
    """Each look is some 10 us, and readers wait meanwhile."""
    desk, keeper = await added(source, 0)
    documents = {f"{number}.bin.meta4": metalink(f"{number}.bin", number=number) for number in range(1000)}
    desk.show(documents)
    desk.board.marks = {name: Mark(f"{n + 1:016x}", "", 0.0) for n, name in enumerate(documents)}
    index = await desk.board.refresh()
    for number in range(1000):
        desk.engine.pause(desk.outline(f"{number}.bin"), on=True)
    async with counting_turns() as turns:
        await keeper._round(index)
    assert turns.taken >= 4


async def test_what_is_complete_is_let_go(source: Path) -> None:
    """Else a mount would keep each download that ever was in memory."""
    desk, keeper = await added(source, 1)
    await look(desk, keeper)
    assert keeper._wants
    desk.engine.running.clear()
    desk.engine.becomes(desk.outline("0.bin"), "complete", 1000)
    await look(desk, keeper)
    assert not keeper._wants


async def test_nothing_is_made_of_marks_at_each_call(source: Path) -> None:
    """Of 5000 that took 8 ms, 500 times in a batch."""
    desk, _ = await added(source, 2)

    assert desk.board._added() is desk.board._added()
    await desk.board.remove("1".zfill(16))
    desk.show()
    for _ in range(2):
        await desk.board.refresh()
    assert list(desk.board._added().values()) == ["2".zfill(16)]
