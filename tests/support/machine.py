"""What the machine that runs the tests is like now."""

import os


def slowness() -> float:
    """Return how many want each processor, at least 1: a shared machine is late by itself."""
    return max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


def patience(seconds: float) -> float:
    """Return the seconds to allow for what takes less than *seconds* on a machine that has nothing else to do.

    Others are slower and are interrupted: a limit is to tell what hangs from what does not, not one machine from another.
    """
    return 3 * seconds * slowness()
