"""Files without a mount: what sources describe, whole and verified, below a folder of the user's.

Law: a file that stands there under its name is whole and was checked; what is not whole waits in a store beside it and
is gone on with by the next fetch. What is there already is never replaced. The tree is that of a mount.
"""

import math
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath

import trio

from mountdl import layers, remote
from mountdl.catalog.build import Built
from mountdl.catalog.tree import File, Note
from mountdl.catalog.watch import Watch
from mountdl.content import Content, ContentKey, Level
from mountdl.control import fetch_rules, fetch_store, text
from mountdl.control.fetch import Order
from mountdl.control.fetch_report import RHYTHM, Line, Report, Totals
from mountdl.control.handing_out import doubled, matching, moved_before, moved_out
from mountdl.control.text import shown
from mountdl.descriptors.model import Caution
from mountdl.engine.download import Download
from mountdl.errors import ExitStatus, MountdlError, StoreError, UsageError
from mountdl.extents import Extent
from mountdl.layers import Layers
from mountdl.settings import Settings
from mountdl.store.place import Place

in_thread = trio.to_thread.run_sync

FIRST_LOOK = 0.002
"""Seconds after which it is looked whether a file is there; each pause is a quarter longer, so that a small file, of
which a mirror near by sends a hundred a second, waits no 0.1 s in which its place among `-j` is nobody else's."""

MOST_WARNINGS = 20
"""Of one source that are told in full."""


def fetch(settings: Settings, order: Order, report: Report) -> int:
    """Fetch *order* and tell *report* of it; return an exit status, that of the first failure."""
    layers.prepare_process()
    with fetch_store.shared(settings.store.directory) as alone:
        with _placed(order.documents) as folders:
            fetching = _Fetching(settings, replace(order, sources=(*order.sources, *folders)), report)
            layers.run(fetching.run)
        if alone():
            fetch_store.tidy(settings.store.directory)
    return fetching.status


@contextmanager
def _placed(documents: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the folder of *documents*, a source like others, if there are any; it goes at the end. UsageError."""
    if not documents:
        yield ()
        return
    with remote.scratch("--input-file") as folder:
        for number, document in enumerate(documents, 1):
            remote.put(Path(folder), f"list-{number:06}.uris", document.encode(errors="surrogateescape"))
        yield (folder,)


@dataclass(frozen=True, slots=True)
class _Job:
    """The file that *node* is, to be *target*."""

    node: File
    target: Path

    @property
    def key(self) -> ContentKey:
        return self.node.outline.key

    def apart(self) -> "_Job":
        """Return it with all that is known of its bytes. Raises StoreError."""
        return replace(self, node=replace(self.node, outline=self.node.content))


class _Fetching:
    def __init__(self, settings: Settings, order: Order, report: Report) -> None:
        self._order, self._report, self._directory = order, report, settings.store.directory
        self._strict = settings.engine.require_verified
        self._layers = Layers(settings, _ignored)
        self._engine, self._contents = self._layers.engine, settings.store.directory / "contents"
        self._slots = trio.CapacityLimiter(order.at_once)
        self._news = trio.Event()
        self._under_way: dict[ContentKey, tuple[_Job, Download]] = {}
        self._checking: dict[ContentKey, Line] = {}
        self._twins: dict[ContentKey, list[_Job]] = {}
        self._claimed: dict[Path, ContentKey] = {}
        self._late: list[_Job] = []
        self._files = self._done = self._failed = 0
        self._waiting, self._awaited = len(order.sources), ""
        self.status = 0

    async def run(self) -> None:
        """Fetch all, and leave what is not whole where the next run finds it."""
        async with self._layers.running():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._on_signals, nursery.cancel_scope)
                nursery.start_soon(self._draw)
                await self._layers.equip()
                await nursery.start(self._engine.run)
                async with trio.open_nursery() as sources:
                    for source in self._order.sources:
                        sources.start_soon(self._take, source, nursery)
                nursery.cancel_scope.cancel()
            # What descriptors say is set aside in the layers, and goes with them.
            late = [job.apart() for job in self._late]
            self._twins.update({job.key: [each.apart() for each in self._twins.get(job.key, ())] for job in late})
        # What swarms have is theirs until they are left.
        for job in late:
            await self._attempt(job, self._move)

    async def _on_signals(self, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as received:
            async for number in received:
                self.status = 128 + number
                kept = f"; what is here waits in {shown(self._directory)}: the same command goes on with it"
                self._report.remark(f"stopped{kept if fetch_store.waits(self._directory) else ''}")
                scope.cancel()

    # -- from sources to files --------------------------------------------------------------------------------

    async def _take(self, source: str, nursery: trio.Nursery) -> None:
        """Fetch all files of *source*; those that only peers can tell of come when they do."""
        begun: set[str] = set()
        try:
            watch = await self._layers.watch(source, self._published, once=True)
            await nursery.start(watch.run)
        except MountdlError as error:
            self._waiting -= 1
            self._fail(error, remote.shown(source))
            return
        async with trio.open_nursery() as files:

            def begin(nodes: Sequence[File | Note]) -> None:
                new = [each for each in nodes if isinstance(each, File) and each.path not in begun]
                begun.update(each.path for each in new)
                self._files += len(new)
                for each in new:
                    files.start_soon(self._attempt, _Job(each, self._order.directory / each.path), self._fetch)

            nodes = await self._settled(watch, begin)
            if not nodes:
                nothing = UsageError("there is nothing in it that describes a file", ExitStatus.NOT_FOUND)
                self._fail(nothing, remote.shown(source))
            begin(nodes)
            while any(fetch_rules.may_come(each) for each in nodes):
                nodes = await self._settled(watch, begin)
                begin(nodes)
            self._waiting -= 1
            for node in nodes:
                if isinstance(node, Note):
                    self._fail(UsageError(node.reason, _status_of(node)), PurePath(node.name).stem)
            self._warn(watch.built.cautions)

    def _warn(self, cautions: Sequence[Caution]) -> None:
        """Tell what *cautions* say of a source: what was left out of it has failed."""
        for number, caution in enumerate(cautions):
            if caution.code != "renamed":
                self._fail(UsageError(caution.message, ExitStatus.BAD_METALINK), "" if number < MOST_WARNINGS else None)
            elif number < MOST_WARNINGS and not self._report.quiet:
                self._report.remark(": ".join(("warning", *filter(None, [caution.file]), caution.message)))
        if len(cautions) > MOST_WARNINGS:
            self._report.remark(f"and {text.counted(len(cautions) - MOST_WARNINGS, 'warning')} more")

    def _published(self, built: Built) -> None:
        self._engine.update(built.contents)
        self._news.set()

    async def _settled(self, watch: Watch, begin: Callable[[Sequence[File]], None]) -> list[File | Note]:
        """Return the files of *watch* once all is known of them, and notes on those of which nothing is known by then.

        Peers may tell more later. Files whose names are theirs for sure *begin* meanwhile.
        """
        since, patience = trio.current_time(), math.inf
        while True:
            nodes = [each for each in watch.built.tree.nodes() if isinstance(each, File | Note)]
            notes = [each for each in nodes if isinstance(each, Note) and each.state != "complete"]
            asked = [each for each in notes if each.state == "resolving"]
            if not asked and not watch.statistics().unresolved:
                break
            self._awaited = next((f"{PurePath(each.name).stem}: {each.reason}" for each in asked), "")
            begin(fetch_rules.certain(nodes, asked))
            before, patience = patience, fetch_rules.patience(asked, watch.statistics().unreached)
            since = since if patience == before else trio.current_time()
            if trio.current_time() >= since + patience:
                break
            with trio.move_on_after(1.0):
                await self._news.wait()
            self._news = trio.Event()
        return [*(each for each in nodes if isinstance(each, File)), *notes]

    # -- one file ---------------------------------------------------------------------------------------------

    async def _attempt(self, job: _Job, act: Callable[[_Job], Awaitable[None]]) -> None:
        try:
            await act(job)
        except MountdlError as error:
            for each in (job, *self._twins.pop(job.key, ())):
                self._fail(error, each.node.path)

    async def _fetch(self, job: _Job, twins: Sequence[_Job] = ()) -> None:
        """Fetch *job*, and what *twins* are too."""
        if self._claimed.setdefault(job.target, job.key) != job.key:
            # Not raised: others may wait for the same bytes under names of their own.
            taken = UsageError(
                "another source has a file of this name; if they are mirrors of one file, name it with --out"
            )
            self._fail(taken, job.node.path)
            return
        if job.key in self._twins:  # the same bytes under two names: one of them is a copy
            self._twins[job.key].append(job)
            return
        self._twins[job.key] = list(twins)
        async with self._slots:
            try:
                there = await self._there(job)
            except UsageError as error:  # of its name: one that is the same bytes has another
                self._fail(error, job.node.path)
                twins = self._twins.pop(job.key)
            else:
                await (self._finish(job) if there else self._bring(job))
                return
        if twins:
            await self._fetch(twins[0], twins[1:])

    async def _there(self, job: _Job) -> bool:
        """Say whether *job* is there under its name already. Raises UsageError where something else is."""
        if not await in_thread(fetch_store.taken, self._directory, job.target):
            return False
        if not await in_thread(moved_before, Place(self._contents, job.key), job.target):
            await self._compare(job)
            await self._drop(job)
        return True

    async def _drop(self, job: _Job) -> None:
        """Have the store keep nothing of *job*, which is there already, unless another fetch is at it."""
        store = self._layers.store
        await store.put_away(job.key)
        if store.glance(job.key, job.node.size).blocks:
            with suppress(StoreError):
                store.remove(job.key)

    async def _bring(self, job: _Job) -> None:
        """Fetch *job* and give it its name."""
        await self._complete(job)
        if job.node.content.swarms:
            self._late.append(job)
            return
        await self._put_away(job)
        await self._move(job)

    async def _put_away(self, job: _Job) -> None:
        """Have the store let go of *job*'s file, all on the disk and on record."""
        self._checking[job.key] = Line(job.node.path, job.node.size, job.node.size, 0.0, "saving")
        try:
            self._engine.release(job.key)
            await self._layers.store.put_away(job.key)
        finally:
            del self._checking[job.key]

    def _find_room(self, job: _Job) -> None:
        """Raise UsageError when the disk has no room for *job* beside what is on its way: all would be left half."""
        store, size = self._layers.store, job.node.size
        missing = size - store.glance(job.key, size).written
        others = [download.statistics() for _, download in self._under_way.values()]
        fetch_rules.refuse_crowded(missing, store.space(), others, self._order.directory)

    async def _complete(self, job: _Job) -> None:
        """Return once all of *job*'s bytes are stored and judged. Raises MountdlError."""
        content = job.node.content
        self._find_room(job)
        reader = self._engine.open(content)
        try:
            download = self._engine.download(content)
            self._under_way[job.key] = job, download
            want = download.want(Extent(0, content.size))
            try:
                pause = FIRST_LOOK
                while not self._engine.complete(job.key):
                    if (error := self._engine.trouble(job.key)) is not None:
                        raise fetch_rules.with_remedy(error, download.statistics())
                    await trio.sleep(pause)
                    pause = min(pause * 1.25, RHYTHM / 2)
            finally:
                download.unwant(want)
        finally:
            self._under_way.pop(job.key, None)
            reader.close()

    async def _compare(self, job: _Job) -> None:
        """Return if what has the name of *job* already is that file, as far as can be told. Raises UsageError."""
        content = job.node.content
        if content.level is Level.NONE:
            if self._strict:
                raise UsageError(
                    "something has this name already, and no digest tells whether it is the same: move it away"
                )
            await in_thread(fetch_rules.refuse_half, job.target)
        if not await self._check(job, lambda tell: matching(job.target, content, tell)):
            raise fetch_rules.taken_by_another(content)

    async def _move(self, job: _Job) -> None:
        """Give *job* its name."""
        content, place = job.node.content, Place(self._contents, job.key)
        digest = fetch_rules.unjudged(content)

        def move(tell: Callable[[int], None]) -> None:
            fetch_store.make_folder(job.target.parent)
            moved_out(place, digest, job.target, job.node.mtime_ns, tell)

        await self._check(job, move)
        await self._finish(job)

    async def _finish(self, job: _Job) -> None:
        """Tell that *job* is there, and copy it for those that are the same bytes."""
        self._done += 1
        self._report.finished(str(job.target))
        for twin in self._twins.pop(job.key, ()):
            await self._attempt(twin, partial(self._copy, job.target))

    async def _copy(self, original: Path, twin: _Job) -> None:
        if twin.target == original:
            self._files -= 1
            return
        if await in_thread(fetch_store.taken, self._directory, twin.target):
            await self._compare(twin)
        else:
            await in_thread(fetch_store.make_folder, twin.target.parent)
            await in_thread(doubled, original, twin.target, twin.node.mtime_ns)
        await self._finish(twin)

    async def _check(self, job: _Job, act: Callable[[Callable[[int], None]], bool | None]) -> bool | None:
        """Have a thread do *act*, drawn how many bytes of *job* it has told of."""
        done = 0

        def tell(count: int) -> None:
            nonlocal done
            done += count
            self._checking[job.key] = Line(job.node.path, job.node.size, done, 0.0, "checking")

        try:
            return await in_thread(act, tell)
        finally:
            self._checking.pop(job.key, None)

    # -- what is told -----------------------------------------------------------------------------------------

    def _fail(self, error: MountdlError, name: str | None) -> None:
        """Take in that what is called *name*, or by the text of *error*, is not to be had; None: that is not told."""
        self._failed += 1
        self.status = self.status or error.exit_status
        if name is None:
            return
        said = str(error)
        self._report.remark(said if said.startswith(name) else f"{name}: {said}")

    async def _draw(self) -> None:
        while True:
            lines = [_line(job, download) for job, download in self._under_way.values()]
            totals = Totals(self._files, self._done, self._failed, self._waiting, self._awaited)
            self._report.show([*lines, *self._checking.values()], totals)
            await trio.sleep(RHYTHM)


def _line(job: _Job, download: Download) -> Line:
    now = download.statistics()
    here = now.verified if job.node.content.level is Level.CHUNK else now.written
    return Line(job.node.path, now.size, here, now.rate, "" if now.rate else now.state)


def _status_of(note: Note) -> ExitStatus:
    return ExitStatus.BAD_METALINK if note.state == "error" else ExitStatus.NOT_FOUND


def _ignored(content: Content) -> None:
    """Nobody has seen any byte of *content* that was thrown away."""
