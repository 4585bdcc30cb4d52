"""How often others get their turn on the loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio


@dataclass
class Turns:
    """How many another task had until now."""

    taken: int = 0


@asynccontextmanager
async def counting_turns() -> AsyncIterator[Turns]:
    """Have another task take all turns that it is given inside."""
    turns = Turns()

    async def other() -> None:
        while True:
            turns.taken += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        yield turns
        nursery.cancel_scope.cancel()
