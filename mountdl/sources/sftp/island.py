"""An asyncio loop in a thread of its own, and the one bridge to it.

Law: what runs on the island is touched there only; a call that is cancelled returns when its coroutine has
really ended. The thread begins with the first call. Knows no SFTP (docs/decisions/0015).
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

import outcome
import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Island:
    """Runs coroutines of asyncio for tasks of trio."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._shore: tuple[trio.lowlevel.TrioToken, trio.Nursery] | None = None

    def moor(self, nursery: trio.Nursery) -> None:
        """Have what is called `ashore` run in *nursery*, as long as that is open."""
        self._shore = trio.lowlevel.current_trio_token(), nursery

    async def ashore(self, function: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
        """Return what `await function(*arguments)` gives in trio, or raise what it raises. Called on the island.

        If cancelled, nobody waits for it any more; it goes on, and what it returns is closed. Where trio has left the
        shore, it is as if somebody had cancelled *function*.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(result: outcome.Outcome[T]) -> None:
            if not answer.done():
                _hand(answer, result)
            else:
                _give_up(result)

        async def body() -> None:
            result: outcome.Outcome[T]
            try:
                result = outcome.Value(await function(*arguments))
            except Exception as error:
                result = outcome.Error(error)
            except BaseException:
                loop.call_soon_threadsafe(answer.cancel)
                raise
            loop.call_soon_threadsafe(settle, result)

        if self._shore is None:
            raise ConnectionError("nothing is run ashore")
        token, nursery = self._shore

        def begin() -> None:
            try:
                nursery.start_soon(body)
            except RuntimeError:  # it was closed since: raised here, that would end the program with trio's traceback
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(answer.cancel)

        token.run_sync_soon(begin)
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled():  # it came, but not to us, who are cancelled in the same turn
                _give_up(outcome.capture(answer.result))
            raise

    @property
    def inhabited(self) -> bool:
        """Whether the thread runs."""
        return self._loop is not None

    async def run(self, function: Callable[[*Ts], Coroutine[object, object, T]], *arguments: *Ts) -> T:
        """Return what `await function(*arguments)` gives on the island, or raise what it raises.

        If cancelled, the coroutine is, and its end is waited for: 81 us a call alone, 16 us among fifty.
        """
        loop = self._started()
        call = _Call(function(*arguments))
        loop.call_soon_threadsafe(call.begin)

        def abort(raise_cancel: Callable[[], object]) -> trio.lowlevel.Abort:
            call.raise_cancel = raise_cancel
            loop.call_soon_threadsafe(call.cancel)
            return trio.lowlevel.Abort.FAILED

        result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    def post(self, function: Callable[[*Ts], object], *arguments: *Ts) -> None:
        """Have *function* called on the island soon; nobody waits. Nothing happens where there is no thread."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function, *arguments)

    async def close(self) -> None:
        """End the thread; what still runs on it is cancelled."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            await trio.to_thread.run_sync(thread.join)

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_live, args=(self._loop,), name="sftp", daemon=True)
            self._thread.start()
        return self._loop


class _Call:
    """One coroutine on the island and the task of trio that waits for it."""

    def __init__(self, coroutine: Coroutine[object, object, object]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[object] | None = None
        self._token = trio.lowlevel.current_trio_token()
        self._waiter = trio.lowlevel.current_task()
        self.raise_cancel: Callable[[], object] | None = None

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._coroutine)
        self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        # Posted after `begin`, so there is a task.
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: asyncio.Task[object]) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(trio.lowlevel.reschedule, self._waiter, self._result(task))

    def _result(self, task: asyncio.Task[object]) -> outcome.Outcome[object]:
        if task.cancelled():
            return outcome.capture(self.raise_cancel or _abandoned)
        error = task.exception()
        return outcome.Value(task.result()) if error is None else outcome.Error(error)


def _hand(answer: asyncio.Future[T], result: outcome.Outcome[T]) -> None:
    try:
        answer.set_result(result.unwrap())
    except Exception as error:
        answer.set_exception(error)


def _give_up(result: outcome.Outcome[object]) -> None:
    """Close what nobody takes any more."""
    if isinstance(result, outcome.Value) and hasattr(result.value, "close"):
        result.value.close()


def _abandoned() -> object:
    raise ConnectionError("the island was left")


def _live(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait_for(asyncio.gather(*left, return_exceptions=True), 2))
    except TimeoutError:
        pass
    finally:
        loop.close()
