"""Who shares bytes with whom: one content for every key, with the sources of all that name it.

Law: contents of one key that contradict each other (`mountdl.content.compatible`) are kept apart, the
first keeps the plain key. Pure; knows no paths.
"""

from dataclasses import replace

from mountdl.content import Content, ContentKey, compatible, distinct, merge
from mountdl.integrity import ALGORITHMS

MOST_VARIANTS = 16
"""How many contradicting contents of one key are kept: each is compared with each that comes later."""


class Pool:
    """Contents that are served as one, under *key*."""

    __slots__ = ("_members", "_outline", "key")

    def __init__(self, first: Content) -> None:
        self.key = first.key
        self._outline = first
        self._members = [first]

    def accepts(self, content: Content) -> bool:
        """Say whether *content* contradicts nothing that is known here."""
        return compatible(self._outline, content)

    def shares_digest(self, content: Content) -> bool:
        """Say whether *content* has a digest that verifies and is known here too."""
        known = self._outline.digests
        return any(name in ALGORITHMS and known.get(name) == value for name, value in content.digests.items())

    def join(self, content: Content) -> None:
        """Take *content* in; it must be accepted."""
        if content == self._members[-1]:
            return
        # The outline has no sources: uniting them at each step would take n * n for n members.
        self._outline = merge(_bare(self._outline), _bare(content))
        self._members.append(content)

    def content(self) -> Content:
        """Return all members as one content."""
        members = self._members
        while len(members) > 1:
            pairs = zip(members[::2], members[1::2], strict=False)
            odd = members[-1:] if len(members) % 2 else []
            members = [merge(one, other) for one, other in pairs] + odd
        return members[0] if members[0].key == self.key else replace(members[0], key=self.key)


def _bare(content: Content) -> Content:
    return replace(content, mirrors=(), swarms=())


class Pools:
    """All pools of one tree."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[ContentKey, list[Pool]] = {}

    def add(self, content: Content) -> Pool | None:
        """Put *content* into the pool it belongs to; None when its key has too many contradicting ones."""
        variants = self._by_key.get(content.key)
        if variants is None:
            pool = Pool(content)
            self._by_key[content.key] = [pool]
            return pool
        for pool in variants:
            if pool.accepts(content):
                pool.join(content)
                return pool
        if len(variants) >= MOST_VARIANTS:
            return None
        pool = Pool(distinct(content))
        variants.append(pool)
        return pool
