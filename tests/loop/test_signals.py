"""Signals to a mount."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import trio

from mountdl import app


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Give the tests' own process its handlers back."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    before = [(number, signal.getsignal(number)) for number in numbers]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_begins_the_end(number: signal.Signals) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(app._on_signals, nursery.cancel_scope.cancel)
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_second_signal_does_not_break_the_end_off(number: signal.Signals) -> None:
    """At a shutdown everybody is told to end, also who was unmounted a moment ago and puts away what it holds."""
    async with trio.open_nursery() as nursery:
        await nursery.start(app._on_signals, lambda: None)
        nursery.cancel_scope.cancel()
    assert signal.getsignal(number) is signal.SIG_IGN
    os.kill(os.getpid(), number)
