"""In what order wants come out of the demand of a content."""

from hypothesis import given
from hypothesis import strategies as st

from mountdl.engine.demand import Demand
from mountdl.extents import Extent
from mountdl.priorities import Priority

TEN = Extent(0, 10)


def test_urgent_first_older_first() -> None:
    """A reader's want comes before older ones that nobody waits for; equals come in the order of arrival."""
    demand = Demand()
    background = demand.add(TEN, Priority.BACKGROUND)
    ahead = demand.add(TEN, Priority.READAHEAD)
    first = demand.add(TEN, Priority.READ)
    second = demand.add(Extent(0, 1), Priority.READ)

    assert [first, second, ahead, background] == list(demand)


def test_equal_wants_of_two_readers_are_two() -> None:
    """When one of two readers of the same bytes goes, the other's want stays."""
    demand = Demand()
    one, other = demand.add(TEN, Priority.READ), demand.add(TEN, Priority.READ)
    demand.remove(one)

    assert [other] == list(demand)


def test_a_want_can_be_withdrawn_twice() -> None:
    """Withdrawing what is gone already changes nothing."""
    demand = Demand()
    want = demand.add(TEN, Priority.READ)
    demand.remove(want)
    demand.remove(want)

    assert not demand


@given(st.lists(st.sampled_from(Priority), max_size=20), st.data())
def test_whatever_stays_is_sorted(priorities: list[Priority], data: st.DataObject) -> None:
    """After any history, what is left comes by priority, then by age."""
    demand = Demand()
    wants = [demand.add(TEN, priority) for priority in priorities]
    gone = data.draw(st.sets(st.sampled_from(range(len(wants)))) if wants else st.just(set[int]()))
    for index in gone:
        demand.remove(wants[index])
    left = [want for index, want in enumerate(wants) if index not in gone]

    assert sorted(left, key=lambda want: (want.priority, want.order)) == list(demand)
    assert bool(left) == bool(demand)
