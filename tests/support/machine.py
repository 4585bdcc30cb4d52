"""What the machine that runs the tests is like now."""

import os


def slowness() -> float:
    """Return how many want each processor, at least 1: a shared machine is late by itself."""
    return max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))
