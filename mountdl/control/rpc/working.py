"""Work for clients that takes long, in threads of their own.

Law: what a client sent is forgotten when it was answered, also when the answer is a `Fault`.
"""

from collections.abc import Callable
from typing import TypeVar

import trio

from mountdl.control.rpc.faults import Fault

T = TypeVar("T")


async def worked(work: Callable[[], T], threads: trio.CapacityLimiter) -> T:
    """Return what *work* returns, done by one of *threads*. Raises Fault as it does."""
    done = await trio.to_thread.run_sync(_tried, work, limiter=threads)
    if isinstance(done, _Failed):
        raise Fault(done.message, done.code, done.status)
    return done


class _Failed:
    """What a Fault says, without what it holds.

    An exception that trio brings from a thread makes a cycle with the frame that brings it: with that, the 2 MiB of a
    request stayed until the collector came by, some 300 requests later.
    """

    def __init__(self, fault: Fault) -> None:
        self.message, self.code, self.status = str(fault), fault.code, fault.status


def _tried(work: Callable[[], T]) -> T | _Failed:
    try:
        return work()
    except Fault as fault:
        return _Failed(fault)
