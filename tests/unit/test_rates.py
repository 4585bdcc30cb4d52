"""Limits of rates: what comes through, who shares, who goes first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mountdl.engine.rates import BURST, LONGEST_PAUSE, Bucket, Rates


@given(st.lists(st.tuples(st.integers(1, 100_000), st.floats(0, 0.5)), min_size=1, max_size=50))
def test_a_bucket_lets_its_rate_through(steps: list[tuple[int, float]]) -> None:
    """Who waits as told gets no more than rate x time, a burst and the last portion."""
    bucket, now, total = Bucket(10_000), 0.0, 0
    for length, idle in steps:
        now += idle
        now += bucket.wait(now)
        assert total <= 10_000 * (now + BURST) + 1
        bucket.take(length, now)
        total += length


def simulated(rates: Rates, files: dict[str, tuple[int, float]], seconds: float, urgent: str = "") -> dict[str, float]:
    """Let flights ask and take 4 KiB each; of each file *n* of at most *most* bytes a second. Return bytes a second."""
    taken = dict.fromkeys(files, 0)
    free = {(name, i): 0.0 for name, (count, _) in files.items() for i in range(count)}
    now = 0.0
    while now < seconds:
        now, (name, i) = min((at, flight) for flight, at in free.items())
        pause = rates.pause(name, now, urgent=name == urgent, crowd=bool(urgent))
        if pause:
            free[name, i] = now + pause
            continue
        rates.took(name, 4096, now)
        taken[name] += 4096
        free[name, i] = now + 4096 * files[name][0] / files[name][1]
    return {name: count / seconds for name, count in taken.items()}


def test_one_file_is_limited() -> None:
    """Its own limit and that of all, whichever is less; nothing at all without."""
    assert 95_000 < simulated(Rates(100_000), {"a": (8, 1e6)}, 10)["a"] < 110_000
    assert 95_000 < simulated(Rates(200_000, 100_000), {"a": (8, 1e6)}, 10)["a"] < 110_000
    assert simulated(Rates(), {"a": (8, 1e6)}, 2)["a"] > 990_000


def test_files_share_whatever_the_number_of_their_flights() -> None:
    """Sixteen flights of one file get no more than the one of another."""
    got = simulated(Rates(0, 100_000), {"a": (16, 1e6), "b": (1, 1e6)}, 20)
    assert 95_000 < sum(got.values()) < 110_000
    assert min(got.values()) > 35_000


def test_what_a_slow_file_leaves_is_used() -> None:
    """Fairness wastes nothing: where one can't take its half, the other has the rest."""
    got = simulated(Rates(0, 100_000), {"a": (4, 1e6), "b": (1, 10_000)}, 20)
    assert got["b"] > 8_000
    assert got["a"] > 80_000


def test_readers_go_first() -> None:
    """While a reader waits and takes all there is, what nobody waits for gets little."""
    got = simulated(Rates(0, 100_000), {"a": (1, 1e6), "b": (4, 1e6)}, 20, urgent="a")
    assert got["a"] > 2 * got["b"]


def test_nobody_is_told_to_wait_for_long() -> None:
    """Shares change: a pause is short, and asked about again."""
    rates = Rates(1, 1)
    rates.took("a", 1 << 20, 0.0)
    assert rates.pause("a", 0.0, urgent=True, crowd=True) == LONGEST_PAUSE
    rates.forget("a")
    assert Rates(1).pause("a", 0.0, urgent=False, crowd=True) == 0.0


def test_who_is_waited_for_goes_first_in_one_file_too() -> None:
    """What else of the file comes waits, though the limit would let it through."""
    rates = Rates(1000)
    assert rates.pause("a", 0.0, urgent=False, crowd=True, awaited=True) > 0
    assert rates.pause("a", 0.0, urgent=True, crowd=True, awaited=True) == 0
    assert rates.pause("b", 0.0, urgent=False, crowd=True, awaited=False) == 0


def test_a_limit_says_what_it_does_not_let_through() -> None:
    """The lower one does, by the name of its option; what comes in time needs no words."""
    assert Rates().enough(1 << 40, 1) is None
    assert Rates(1000, 500).enough(5000, 10) is None
    assert "--max-overall-download-limit=500 " in (Rates(1000, 500).enough(5001, 10) or "")
    assert "--max-download-limit=100 " in (Rates(100, 500).enough(5001, 10) or "")


def test_limits_can_be_changed_while_bytes_come() -> None:
    """From then on the new ones hold; a file may have one of its own, and 0 is none."""
    rates = Rates(each=10_000, overall=0)
    assert simulated(rates, {"a": (4, 1e6)}, 4)["a"] < 12_000

    rates.change(40_000, None)
    assert 35_000 < simulated(rates, {"a": (4, 1e6)}, 4)["a"] < 45_000
    rates.change_one("a", 20_000)
    got = simulated(rates, {"a": (4, 1e6), "b": (4, 1e6)}, 4)
    assert 15_000 < got["a"] < 25_000
    assert 35_000 < got["b"] < 45_000
    rates.change(0, 0)
    rates.change_one("a", 0)
    assert simulated(rates, {"a": (4, 1e6)}, 1)["a"] > 500_000
