"""Who shares bytes with whom: one content for every key, with the sources of all that name it.

Law: contents of one key that contradict each other (`mountdl.content.compatible`) are kept apart, the
first keeps the plain key. Pure; knows no paths.
"""

from dataclasses import replace

from mountdl.content import Content, ContentKey, Outline, compatible, distinct, merge
from mountdl.integrity import ALGORITHMS

MOST_VARIANTS = 16
"""How many contradicting contents of one key are kept: each is compared with each that comes later."""


class Pool:
    """Contents that are served as one, under *key*. As long as there is one, nothing but its outline is looked at."""

    __slots__ = ("_first", "_members", "_union", "key")

    def __init__(self, first: Outline) -> None:
        self.key = first.key
        self._first = first
        self._members: list[Content] | None = None
        self._union: Content | None = None

    def accepts(self, content: Content) -> bool:
        """Say whether *content* contradicts nothing that is known here."""
        return compatible(self._united(), content)

    def shares_digest(self, content: Content) -> bool:
        """Say whether *content* has a digest that verifies and is known here too."""
        known = self._united().digests
        return any(name in ALGORITHMS and known.get(name) == value for name, value in content.digests.items())

    def join(self, content: Content) -> None:
        """Take *content* in; it must be accepted."""
        members = self._members or [self._first.full]
        if content == members[-1]:
            return
        # The union has no sources: uniting them at each step would take n * n for n members.
        self._union = merge(_bare(self._united()), _bare(content))
        members.append(content)
        self._members = members

    def _united(self) -> Content:
        if self._union is None:
            self._union = self._first.full
        return self._union

    def content(self) -> Outline:
        """Return all members as one content."""
        members = self._members
        if not members:
            return self._first
        while len(members) > 1:
            pairs = zip(members[::2], members[1::2], strict=False)
            odd = members[-1:] if len(members) % 2 else []
            members = [merge(one, other) for one, other in pairs] + odd
        return members[0] if members[0].key == self.key else replace(members[0], key=self.key)


def _bare(content: Content) -> Content:
    return replace(content, mirrors=(), swarms=())


class Pools:
    """All pools of one tree."""

    __slots__ = ("_by_key", "_variants")

    def __init__(self) -> None:
        self._by_key: dict[ContentKey, Pool] = {}
        self._variants: dict[ContentKey, list[Pool]] = {}

    def add(self, content: Outline) -> Pool | None:
        """Put *content* into the pool it belongs to; None when its key has too many contradicting ones."""
        first = self._by_key.get(content.key)
        if first is None:
            first = self._by_key[content.key] = Pool(content)
            return first
        full = content.full
        others = self._variants.setdefault(content.key, [])
        for pool in (first, *others):
            if pool.accepts(full):
                pool.join(full)
                return pool
        if len(others) + 1 >= MOST_VARIANTS:
            return None
        pool = Pool(distinct(full))
        others.append(pool)
        return pool
