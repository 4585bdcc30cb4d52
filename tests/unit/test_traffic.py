"""Rates, and when nobody waits."""

import pytest

from mountdl.content import ContentKey
from mountdl.engine.traffic import MEMORY, QUIET, SILENCE, Meter, Traffic

KEY = ContentKey("k")


def nothing() -> None:
    pass


def test_nobody_ever_read_is_quiet() -> None:
    """A fresh engine may work in the background at once."""
    assert Traffic(nothing).quiet(0.0)


def test_quiet_comes_a_while_after_the_last_reader() -> None:
    """Background work waits for all readers to be served, and a moment more."""
    traffic = Traffic(nothing)
    traffic.reading(1, 10.0)
    traffic.reading(1, 11.0)
    traffic.reading(-1, 12.0)
    assert not traffic.quiet(100.0)
    traffic.reading(-1, 100.0)
    assert not traffic.quiet(100.0 + QUIET / 2)
    assert traffic.quiet(100.0 + QUIET)


def test_what_arrived_long_ago_is_no_rate() -> None:
    """A file that came fast is not shown for a minute as one that still comes, ever more slowly."""
    meter = Meter()
    meter.add(100_000_000, 50.0)

    assert meter.rate(50.0 + MEMORY) > 0
    assert 0.0 == meter.rate(50.0 + SILENCE)


def test_a_meter_settles_at_the_true_rate() -> None:
    """A steady flow is shown as what it is, within a few percent."""
    meter = Meter()
    for tick in range(300):
        meter.add(1000, tick / 10)

    assert pytest.approx(meter.rate(29.95), rel=0.05) == 10_000


def test_a_meter_fades() -> None:
    """Nothing arriving, the rate sinks by e in `MEMORY` seconds and never goes below zero."""
    meter = Meter()
    meter.add(3000, 0.0)
    first = meter.rate(0.0)

    assert first / 2.718281828 == pytest.approx(meter.rate(MEMORY))
    assert 0 <= meter.rate(1e6) < 1e-9


def test_rates_are_kept_by_content_until_forgotten() -> None:
    """One content's bytes don't count for another; a forgotten one starts from nothing."""
    traffic = Traffic(nothing)
    traffic.received(KEY, 300, 0.0)

    assert traffic.rate(KEY, 0.0) > 0
    assert traffic.rate(ContentKey("other"), 0.0) == 0
    traffic.forget(KEY)
    traffic.forget(KEY)
    assert traffic.rate(KEY, 0.0) == 0
