"""What the user prefers decides what is shown and which mirror goes first."""

from pathlib import PurePosixPath

import pytest

from mountdl.descriptors import prefer
from mountdl.descriptors.model import Descriptor, Entry, MirrorRef, SwarmRef
from mountdl.settings import PreferenceSettings


def one(**traits: object) -> Descriptor:
    return Descriptor("metalink4", (Entry(PurePosixPath("a"), **traits),))


def shown(descriptor: Descriptor, **wanted: object) -> bool:
    return bool(prefer(descriptor, PreferenceSettings(**wanted)).entries)


def test_no_preference_changes_nothing():
    given = one(version="1", languages=("de",), os=("BSD",), mirrors=(MirrorRef("http://h/", 2, "de"),))
    assert prefer(given, PreferenceSettings()) == given


@pytest.mark.parametrize("wanted", [{"version": "1"}, {"languages": ("de",)}, {"os": ("Linux",)}])
def test_what_says_nothing_stays(wanted):
    assert shown(one(), **wanted)


def test_version_is_exact():
    assert shown(one(version="1.0"), version="1.0")
    assert not shown(one(version="1.0"), version="1")


@pytest.mark.parametrize(
    ("tag", "wanted", "fits"),
    [
        ("de", "de", True),
        ("de-CH", "DE", True),
        ("DE-ch", "de-CH", True),
        ("den", "de", False),
        ("de", "de-CH", False),
        ("en", "*", True),
    ],
)
def test_language_by_prefix(tag, wanted, fits):
    assert shown(one(languages=("fr", tag)), languages=("xx", wanted)) == fits


def test_system_without_case():
    assert shown(one(os=("Linux-x86",)), os=("linux-X86",))
    assert not shown(one(os=("Linux-x86",)), os=("BSD",))


def test_what_is_hidden_is_told():
    found = prefer(one(version="2"), PreferenceSettings(version="1"))
    assert [(caution.code, caution.file) for caution in found.cautions] == [("not-preferred", "a")]


def order(descriptor: Descriptor, **wanted: object) -> list[tuple[str, int]]:
    entry = prefer(descriptor, PreferenceSettings(**wanted)).entries[0]
    return [(ref.url, ref.priority) for ref in entry.mirrors]


MIRRORS = (
    MirrorRef("http://1/", 1, "de"),
    MirrorRef("https://2/", 2, "jp"),
    MirrorRef("http://3/", 3, "gb"),
    MirrorRef("https://4/", 3, None),
    MirrorRef("http://5/", 4, "jp"),
)


def test_location_outranks_priority():
    """Letters without case; the priorities are numbered anew, so that whoever sorts by them sees it."""
    found = order(one(mirrors=MIRRORS), locations=("JP", "uk"))
    assert found == [("https://2/", 1), ("http://3/", 2), ("http://5/", 3), ("http://1/", 4), ("https://4/", 5)]


def test_protocol_adds_to_location():
    found = order(one(mirrors=MIRRORS), locations=("jp",), protocol="http")
    assert [url for url, _ in found] == ["http://5/", "http://1/", "https://2/", "http://3/", "https://4/"]


def test_a_location_that_no_mirror_has_changes_nothing():
    assert order(one(mirrors=MIRRORS), locations=("fr",)) == [(ref.url, ref.priority) for ref in MIRRORS]


def test_swarms_keep_their_place_among_mirrors_that_are_not_preferred():
    """Priorities of both are on one scale."""
    given = one(mirrors=MIRRORS, swarms=(SwarmRef("http://t/", "torrent", None, 2),))
    entry = prefer(given, PreferenceSettings(locations=("jp",))).entries[0]
    place = {ref.url: ref.priority for ref in entry.mirrors}
    assert place["http://5/"] < place["http://1/"] < entry.swarms[0].priority < place["http://3/"]
    assert place["http://3/"] == place["https://4/"]


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("a/b c.iso", True),
        ("..x", False),
        (".hidden", False),
        ("~a", False),
        (" a", False),
        ("a ", False),
        ("a|b", False),
        ("d/a>b", False),
        ("d/.hidden", True),
        ("a.", True),
    ],
)
def test_strict_names_are_those_of_other_programs(name, fits):
    """Only if that is wished: here such names do no harm."""
    given = Descriptor("metalink4", (Entry(PurePosixPath(name)),))
    assert prefer(given, PreferenceSettings()) == given
    found = prefer(given, PreferenceSettings(strict_names=True))
    assert bool(found.entries) is fits
    assert [caution.code for caution in found.cautions] == ([] if fits else ["unsafe-name"])
