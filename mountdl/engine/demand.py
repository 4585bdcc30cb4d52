"""What is wanted of one content: extents with priorities. Pure.

A want is a value; two equal wants by two readers are two members. Within a priority the older one
goes first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from mountdl.extents import Extent
from mountdl.priorities import Priority


@dataclass(frozen=True, slots=True)
class Want:
    """An extent someone wants. *order* tells older from younger."""

    extent: Extent
    priority: Priority
    order: int


class Demand:
    """The multiset of all wants of one content."""

    def __init__(self) -> None:
        self._wants: dict[int, Want] = {}
        self._orders = count(1)

    def __iter__(self) -> Iterator[Want]:
        """Yield the wants, most urgent first, older before younger."""
        return iter(sorted(self._wants.values(), key=lambda want: (want.priority, want.order)))

    def __bool__(self) -> bool:
        return bool(self._wants)

    def add(self, extent: Extent, priority: Priority) -> Want:
        """Put a new want in and return it; it is the handle to withdraw it with."""
        want = Want(extent, priority, next(self._orders))
        self._wants[want.order] = want
        return want

    def remove(self, want: Want) -> None:
        """Withdraw *want*; one that is gone already is no error."""
        self._wants.pop(want.order, None)
