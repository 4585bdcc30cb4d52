"""Fetch whole what clients added, a few at a time, in the order in which they added it.

Law: what was complete once is not fetched again when the quota takes it; what is paused is left alone. Withdraws its
wants when the descriptor goes.
"""

import logging

import trio

from mountdl.catalog.tree import File
from mountdl.content import ContentKey
from mountdl.control.rpc.board import Board
from mountdl.control.rpc.rows import A_TURN, ACTIVE, COMPLETE, ERROR, PAUSED, WAITING, Index, Row
from mountdl.engine.demand import Want
from mountdl.engine.download import Download
from mountdl.engine.engine import Engine
from mountdl.errors import MountdlError
from mountdl.extents import Extent

log = logging.getLogger(__name__)

AT_ONCE = 5
"""Files that are fetched at once because a client added them; aria2's --max-concurrent-downloads."""
LOOK = 1.0
"""Seconds between two looks."""
AGAIN = 30.0
"""Seconds until one that failed is tried again."""


class Keeper:
    """Wants of what clients added by *board*, held in *engine*."""

    def __init__(self, board: Board, engine: Engine) -> None:
        self._board, self._engine = board, engine
        self._wants: dict[ContentKey, tuple[Download, Want]] = {}
        self._done: set[ContentKey] = set()
        self._again: dict[ContentKey, float] = {}

    async def run(self) -> None:
        """Fetch until cancelled."""
        while True:
            try:
                if self._board.marks or self._wants:
                    await self._round(await self._board.refresh())
            except Exception:
                log.exception("RPC: a defect of mountdl")
            await trio.sleep(LOOK)

    async def _round(self, index: Index) -> None:
        """Withdraw what nobody wants any more, and begin what is next."""
        mine = [row for name in self._board.marks for row in index.added.get(name, ()) if row.key is not None]
        self._withdraw({row.key for row in mine})
        for name in self._board.paused_at_first & index.added.keys():
            self._board.paused_at_first.discard(name)
            for row in index.added[name]:
                if isinstance(row.node, File):
                    self._engine.pause(row.node.outline, on=True)
                    row.status = PAUSED
        open_now = frozenset(self._engine.active())
        flying = {
            row.node.inode
            for row in mine
            if row.key in self._wants.keys() & open_now and row.status in {ACTIVE, WAITING}
        }
        for number, row in enumerate(mine):
            if number % A_TURN == 0:
                await trio.lowlevel.checkpoint()
            if len(flying) >= AT_ONCE:
                return
            if self._due(row, open_now) and self._begin(row):
                flying.add(row.node.inode)

    def _withdraw(self, wanted: "set[ContentKey | None]") -> None:
        for key in self._wants.keys() - wanted:
            download, want = self._wants.pop(key)
            download.unwant(want)

    def _due(self, row: Row, open_now: frozenset[ContentKey]) -> bool:
        """Say whether *row* is to be begun now."""
        key = row.key
        if key is None or key in self._done or (key in self._wants and key in open_now):
            return False
        status = self._board.look(row)
        if status == COMPLETE:
            self._done.add(key)
            self._wants.pop(key, None)  # else each download that ever was stays in memory
        if status in {COMPLETE, PAUSED} or self._engine.evicted(key):
            return False
        return status != ERROR or trio.current_time() >= self._again.get(key, 0.0)

    def _begin(self, row: Row) -> bool:
        """Want all of *row*; say whether that worked."""
        node = row.node
        assert isinstance(node, File)  # noqa: S101  # it has a key
        self._again[node.outline.key] = trio.current_time() + AGAIN
        try:
            download = self._engine.download(node.content)
        except MountdlError as error:
            log.info("%s is not fetched now: %s", row.path, error)
            return False
        self._wants[node.outline.key] = download, download.want(Extent(0, node.size))
        return True
