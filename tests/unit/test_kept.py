"""What is set aside of a descriptor makes the same tree as what it said."""

from dataclasses import replace
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mountdl.catalog.build import build
from mountdl.catalog.document import Document, date_of
from mountdl.catalog.kept import MOST, KeptFile, kept
from mountdl.catalog.tree import Directory, File, Inodes, Tree
from mountdl.content import Level, content_of
from mountdl.descriptors.model import (
    Caution,
    Descriptor,
    Entry,
    MirrorRef,
    Neighbour,
    PieceDigests,
    Signature,
    SwarmRef,
)
from mountdl.descriptors.packing import packed, unpacked
from mountdl.errors import DescriptorError, StoreError
from mountdl.extents import Extent


class Drawer:
    """A shelf in memory; with *full* the disk has no room."""

    def __init__(self, *, full: bool = False) -> None:
        self.there: dict[int, bytes] = {}
        self.full = full
        self._next = 0

    def put(self, data: bytes) -> int:
        if self.full:
            raise StoreError("the disk is full")
        self._next += 1
        self.there[self._next] = data
        return self._next

    def get(self, place: int, length: int) -> bytes:
        assert len(self.there[place]) == length
        return self.there[place]

    def free(self, place: int, length: int) -> None:
        assert len(self.there.pop(place)) == length


TEXT = st.text(max_size=8)
NEIGHBOURS = st.lists(
    st.builds(Neighbour, st.integers(0, 1 << 70), st.builds(Extent, st.just(3), st.integers(3, 9)), st.tuples(TEXT)),
    max_size=2,
).map(tuple)
PIECES = st.builds(
    PieceDigests, TEXT, st.integers(1, 1 << 40), st.binary(), st.integers(0, 9), st.booleans(), NEIGHBOURS, NEIGHBOURS
)
LIMIT = st.none() | st.integers(1, 99)
ANY_ENTRY = st.builds(
    Entry,
    st.lists(st.sampled_from(["a", "b\udcff", "ü.iso"]), min_size=1, max_size=3).map(lambda p: PurePosixPath(*p)),
    st.none() | st.integers(0, 1 << 80),
    st.dictionaries(TEXT, st.binary(max_size=8), max_size=3),
    st.none() | PIECES,
    st.lists(st.builds(MirrorRef, TEXT, st.integers(1, 999999), st.none() | TEXT, LIMIT), max_size=3).map(tuple),
    st.lists(st.builds(SwarmRef, TEXT, TEXT, st.none() | TEXT, st.integers(1, 9)), max_size=2).map(tuple),
    st.none() | st.builds(Signature, TEXT, TEXT, TEXT),
    st.lists(TEXT, max_size=2).map(tuple),
    st.lists(TEXT, max_size=2).map(tuple),
    st.none() | TEXT,
    LIMIT,
    st.booleans(),
)


@given(ANY_ENTRY)
def test_an_entry_comes_back_as_it_was(entry: Entry) -> None:
    """Every field of every kind, also names that are no text."""
    assert entry == unpacked(packed(entry))


def an_entry(path: str, number: int, size: int | None = 10, mirror: str = "m", **more: object) -> Entry:
    digests = {"sha-256": bytes([number]) * 32} if number else {}
    return Entry(PurePosixPath(path), size, digests, mirrors=(MirrorRef(f"http://{mirror}/{path}"),), **more)  # type: ignore[arg-type]


PATHS = st.sampled_from(["a/b.iso", "b.iso", "b (2).iso", "a", "c/d/e.iso", "b.iso.asc"])
ENTRIES = st.builds(
    an_entry,
    PATHS,
    st.integers(0, 3),
    st.sampled_from([10, 10, 11, None]),
    st.sampled_from(["one", "two"]),
    pieces=st.sampled_from([None, PieceDigests("sha-1", 6, b"x" * 40), PieceDigests("sha-1", 6, b"y" * 40)]),
    signature=st.sampled_from([None, None, Signature("application/pgp-signature", "x", "b.iso.asc")]),
)
CAUTIONS = st.lists(st.builds(Caution, st.just("code"), st.just("message"), st.none() | PATHS), max_size=2).map(tuple)
SAID = st.one_of(
    st.builds(
        lambda entries, cautions, dates: Descriptor("metalink4", tuple(entries), cautions, updated_ns=dates),
        st.lists(ENTRIES, max_size=3, unique_by=lambda entry: entry.path),
        CAUTIONS,
        st.none() | st.just(77),
    ),
    st.just(DescriptorError("empty", "it is empty")),
)
DOCUMENTS = st.dictionaries(st.sampled_from(["x.meta4", "y.meta4", "a/x.meta4", "a/b.iso.meta4"]), SAID, max_size=4)


def set_aside(document: Document, shelf: Drawer) -> Document:
    said = document.said
    if not isinstance(said, Descriptor):
        return document
    found = kept(document.name, said, shelf)
    return document if found is None else Document(document.path, date_of(said, document.mtime_ns), found)


def shown(tree: Tree) -> list[object]:
    """Everything that *tree* shows, with all that is known of it."""
    return [replace(node, outline=node.content) if isinstance(node, File) else node for node in tree.nodes()]


@settings(max_examples=300)
@given(DOCUMENTS)
def test_the_tree_is_the_same(said: dict[str, Descriptor | DescriptorError]) -> None:
    """Names, dates, contents, cautions and notes, whoever shares bytes or a name with whom."""
    shelf = Drawer()
    documents = [Document(path, 5, each) for path, each in said.items()]
    plain = build(documents, Inodes(), {})
    other = build([set_aside(document, shelf) for document in documents], Inodes(), {})

    assert shown(plain.tree) == shown(other.tree)
    assert plain.contents == {key: outline.full for key, outline in other.contents.items()}
    assert (plain.unresolved, plain.cautions) == (other.unresolved, other.cautions)
    for outline in other.contents.values():
        full = outline.full
        assert (full.key, full.size, full.level, full.judged) == (
            outline.key, outline.size, outline.level, outline.judged
        )  # fmt: skip
    assert len(shelf.there) <= sum(len(each.entries) for each in said.values() if isinstance(each, Descriptor))


PLAIN = an_entry("b.iso", 1)


def test_a_plain_file_is_set_aside() -> None:
    """Its size, key, level and shown path are at hand; its room is given back when nobody knows it any more."""
    shelf = Drawer()
    found = kept("c.iso.meta4", Descriptor("metalink4", (PLAIN,)), shelf)
    assert found is not None
    [file] = found

    assert (file.path, file.size, file.level) == ("c.iso", 10, Level.WHOLE)
    assert file.full == content_of(PLAIN, 10)
    assert len(shelf.there) == 1
    del file, found
    assert shelf.there == {}


@pytest.mark.parametrize(
    "said",
    [
        Descriptor("metalink4", ()),
        Descriptor("metalink4", (PLAIN,), origin="http://m/x.meta4", dynamic=True),
        Descriptor("metalink4", (PLAIN, an_entry("c.iso", 2, None))),
        Descriptor("metalink4", (PLAIN, an_entry("c.iso", 2, 1 << 63))),
        Descriptor("metalink4", (an_entry("c.iso", 2, signature=Signature("a/b", "x", "y")),)),
        Descriptor("metalink4", (an_entry("c.iso", 2, MOST, pieces=PieceDigests("sha-1", 1, b"x" * 20 * MOST)),)),
        Descriptor("metalink4", (an_entry("b/" * 3000, 2),)),
        Descriptor("torrent", (an_entry("c", 0, 10, pieces=PieceDigests("sha-1", 4, b"x" * 60, 1, open_end=True)),)),
    ],
)
def test_what_stays_in_memory(said: Descriptor) -> None:
    """What is still to be asked or explained, signed, in part verifiable, or very long; and nothing of it is left."""
    shelf = Drawer()

    assert kept("x.meta4", said, shelf) is None
    assert shelf.there == {}


def test_a_full_disk_leaves_all_in_memory() -> None:
    """Then the descriptor is shown as it would be without a shelf."""
    assert kept("x.meta4", Descriptor("metalink4", (PLAIN,)), Drawer(full=True)) is None


def test_directories_are_not_files() -> None:
    """A path of several parts makes folders, as it does without a shelf."""
    found = kept("x.meta4", Descriptor("metalink4", (an_entry("d/b.iso", 1),)), Drawer())
    assert found is not None
    tree = build([Document("x.meta4", 5, found)], Inodes(), {}).tree

    assert [node.name for node in tree.nodes() if isinstance(node, Directory)] == ["", "d"]
    assert isinstance(found[0], KeptFile)
