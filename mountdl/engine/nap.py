"""The pause of a loop that looks after all now and then: it ends in time, or sooner when there is a reason."""

import trio


class Nap:
    """Of one loop. What is called between two naps is not lost, but for `within`."""

    def __init__(self) -> None:
        self._called, self._scope = trio.Event(), trio.CancelScope()

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds*, or as soon as `end` was called since the last nap."""
        self._scope = trio.CancelScope(deadline=trio.current_time() + seconds)
        with self._scope:
            await self._called.wait()
        self._called = trio.Event()

    def end(self) -> None:
        """Have it end now."""
        self._called.set()

    def within(self, seconds: float) -> None:
        """Have the nap that is under way end in *seconds*, if not sooner."""
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + seconds)
