"""What the machine that runs the tests is like now, and waiting for what it comes to."""

import os
from collections.abc import Callable

import trio


def slowness() -> float:
    """Return how many want each processor, at least 1: a shared machine is late by itself."""
    return max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


def patience(seconds: float) -> float:
    """Return the seconds to allow for what takes less than *seconds* on a machine that has nothing else to do.

    Others are slower and are interrupted: a limit is to tell what hangs from what does not, not one machine from another.
    """
    return 3 * seconds * slowness()


async def until(condition: Callable[[], object], seconds: float = 50.0) -> None:
    """Return once *condition*, asked every 20 ms, is true; trio.TooSlowError after *seconds*."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.02)
