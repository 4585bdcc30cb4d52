"""A SOURCE that is no path."""

from __future__ import annotations

import hashlib

import pytest

from mountdl.descriptors import parse
from mountdl.errors import UsageError
from mountdl.remote import described, is_remote, name_of
from mountdl.sources.base import Probe


@pytest.mark.parametrize(
    ("source", "remote"),
    [("/srv/links", False), ("links", False), ("http://h/x", True), ("magnet:?xt=urn:btih:00", True)],
)
def test_paths_are_not_remote(source: str, remote: bool) -> None:
    """URLs and magnet links are remote, paths are not."""
    assert remote is is_remote(source)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/a/b%20c.iso?x=1#y", "b c.iso"),
        ("http://h/", "file"),
        ("http://h/..", "file"),
        ("http://h/a%2Fb", "a_b"),
        ("http://h/.hidden", "hidden"),
        ("http://h/" + "x" * 300, "x" * 200),
    ],
)
def test_a_name_is_one_safe_component(url: str, name: str) -> None:
    """Nothing in a URL leads out of the folder that its descriptor is put into."""
    assert name == name_of(url)


def test_a_plain_file_becomes_a_metalink() -> None:
    """What a server tells of a file is all that its descriptor says."""
    digest = hashlib.sha256(b"x").digest()
    text = described('a&"b.iso', "http://h/a?b=1&c=2", Probe(7, ranges=True, digests={"sha-256": digest}))
    (entry,) = parse("a.meta4", text.encode()).entries
    assert ('a&"b.iso', 7, {"sha-256": digest}) == (str(entry.path), entry.size, dict(entry.digests))
    assert ["http://h/a?b=1&c=2"] == [mirror.url for mirror in entry.mirrors]


def test_a_file_of_unknown_length_is_refused() -> None:
    """A size is needed to show a file at all."""
    with pytest.raises(UsageError, match="does not say how long"):
        described("a", "http://h/a", Probe(None, ranges=False))
