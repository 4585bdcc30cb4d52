"""What closed contents take, and which of them is the oldest, against an oracle that looks at all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.content import ContentKey
from mountdl.store import Store, Stored
from mountdl.store.census import AtRest, Resting
from mountdl.store.uses import DAY, Clock

NOW = 1e9
RESTING = st.builds(
    Resting,
    st.sampled_from("abcdef").map(ContentKey),
    st.integers(0, 3),
    st.sampled_from([NOW, NOW - 5, NOW - 50, NOW + 2 * DAY]),
    st.booleans(),
)
STEP = RESTING | st.sampled_from("abcdef").map(ContentKey)


@given(st.lists(RESTING, unique_by=lambda rest: rest.key), st.lists(STEP))
def test_it_knows_the_oldest_and_the_sum(found: list[Resting], steps: list[Resting | ContentKey]) -> None:
    """Whatever comes, goes and comes back as another; a time in the far future is none."""
    clock = Clock(NOW)
    rests = AtRest(found, clock.plausible)
    oracle = {rest.key: rest for rest in found}
    for step in [None, *steps]:
        if isinstance(step, Resting):
            rests.add(step)
            oracle[step.key] = step
        elif step is not None:
            gone = oracle.pop(step, None)
            assert rests.remove(step) == (gone.taken if gone else 0)

        assert rests.taken == sum(rest.taken for rest in oracle.values())
        for pinned in (False, True):
            ages = [clock.plausible(rest.used_at) for rest in oracle.values() if rest.taken and rest.pinned is pinned]
            oldest = rests.oldest(pinned=pinned)
            assert (oldest and clock.plausible(oldest.used_at)) == (min(ages) if ages else None)
            assert oldest is None or oracle[oldest.key] is oldest


def test_opening_asks_the_disk_about_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand files that are open are not looked at again because one more is."""
    store = Store(tmp_path)
    others = [store.open(ContentKey(f"k{number}"), 1 << 20, "fp") for number in range(3)]
    asked: list[Stored] = []
    blocks = Stored.blocks.fget
    assert blocks is not None
    monkeypatch.setattr(Stored, "blocks", property(lambda stored: (asked.append(stored), blocks(stored))[1]))
    new = store.open(ContentKey("new"), 1 << 20, "fp")

    assert not set(map(id, asked)) & set(map(id, others))
    assert asked == [new]
    store.close()
