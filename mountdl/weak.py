"""References that keep nothing alive.

Law: what is over is gone with its last user. Where parts call back who made them, both would wait for the collector,
which goes through a large catalog so seldom that a thousand closed files took 17 MB until then.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar
from weakref import WeakMethod

P = ParamSpec("P")
R = TypeVar("R")


def weakly(method: Callable[P, R]) -> Callable[P, R]:
    """Return what calls the bound *method* and does not keep its object; whoever calls it is done before that goes."""
    held = WeakMethod(method)

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        found = held()
        assert found is not None  # noqa: S101  # as promised
        return found(*args, **kwargs)

    return call
