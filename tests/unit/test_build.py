"""Which descriptors show which files where."""

import random
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mountdl.catalog.build import Built, build, size_key
from mountdl.catalog.document import Document
from mountdl.catalog.names import PATH_MAX, clean, fit, numbered, shown_parts
from mountdl.catalog.pools import MOST_VARIANTS
from mountdl.catalog.tree import NAME_MAX, ROOT, Directory, File, Inodes, Node, Note, Tree
from mountdl.content import LARGEST, Level
from mountdl.descriptors.learned import Learned, Pending
from mountdl.descriptors.model import Caution, Descriptor, Entry, Magnet, MirrorRef, PieceDigests, Signature, SwarmRef
from mountdl.errors import DescriptorError


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def entry(path: str, number: int = 1, size: int | None = 10, **more: Any) -> Entry:
    more.setdefault("digests", {"sha-256": digest(number)})
    return Entry(PurePosixPath(path), size, **more)


def document(path: str, *entries: Entry, mtime_ns: int = 5, **more: Any) -> Document:
    return Document(path, mtime_ns, Descriptor("metalink4", entries, **more))


UNWANTED = (Caution("not-preferred", "its language is not the preferred one", "b.iso"),)


def refused(path: str, kind: str = "empty", message: str = "it is empty") -> Document:
    return Document(path, 5, DescriptorError(kind, message))


def built(*documents: Document, **more: Any) -> Built:
    return build(documents, Inodes(), more.pop("sizes", {}), **more)


def paths(tree: Tree) -> dict[str, Node]:
    """Every path of *tree*, walked from the root, so that two nodes of one path can't hide."""
    found: dict[str, Node] = {}
    waiting: list[tuple[str, Node]] = [("", tree.root)]
    while waiting:
        path, node = waiting.pop()
        assert path not in found
        found[path] = node
        if isinstance(node, Directory):
            assert list(node.children) == sorted(node.children)
            for name in node.children:
                child = tree.child(node.inode, name)
                assert child is not None
                assert child.name == name
                assert child.parent == node.inode
                waiting.append((f"{path}/{name}".lstrip("/"), child))
    assert len(found) == len(list(tree.nodes()))
    return found


def shown(result: Built) -> set[str]:
    return {path for path, node in paths(result.tree).items() if not isinstance(node, Directory)}


def file_at(result: Built, path: str) -> File:
    node = result.tree.find(PurePosixPath(path))
    assert isinstance(node, File)
    return node


def note_at(result: Built, path: str) -> Note:
    node = result.tree.find(PurePosixPath(path))
    assert isinstance(node, Note)
    return node


def mirrors(*hosts: str) -> tuple[MirrorRef, ...]:
    return tuple(MirrorRef(f"http://{host}/b.iso") for host in hosts)


# Paths


def test_one_file_is_shown_beside_its_descriptor() -> None:
    """`SOURCE/a/b.iso.meta4` shows `MNT/a/b.iso`."""
    assert {"a/b.iso"} == shown(built(document("a/b.iso.meta4", entry("b.iso"))))


def test_one_file_takes_the_descriptors_name_when_that_names_a_file_type() -> None:
    """What the descriptor calls its only file does not matter where its own name says a type."""
    assert {"a/b.iso"} == shown(built(document("a/b.iso.meta4", entry("other.iso"))))
    assert {"data.bin"} == shown(built(document("data.bin.metalink", entry("payload.dat"))))
    assert {"x.7z"} == shown(built(document("x.7z.meta4", entry("payload.dat"))))
    assert {"x.42"} == shown(built(document("x.42.meta4", entry("y.42"))))


def test_one_file_keeps_its_own_name_when_the_descriptors_names_no_file_type() -> None:
    """A descriptor called `fedora.metalink` or `ubuntu-22.04.metalink` leaves the name to its entry."""
    assert {"Fedora-40.iso"} == shown(built(document("fedora.metalink", entry("Fedora-40.iso"))))
    assert {"desktop.iso"} == shown(built(document("ubuntu-22.04.metalink", entry("desktop.iso"))))


def test_one_file_in_a_folder_is_shown_at_its_own_path() -> None:
    """Folders of an entry are kept, also when it is the only one."""
    assert {"a/dir/other.iso"} == shown(built(document("a/b.iso.meta4", entry("dir/other.iso"))))


def test_several_files_are_shown_at_their_own_paths() -> None:
    """They stand below the descriptor's folder."""
    result = built(document("a/b.iso.meta4", entry("x.iso", 1), entry("d/y.iso", 2)))

    assert {"a/x.iso", "a/d/y.iso"} == shown(result)
    assert "a/d/y.iso" == file_at(result, "a/d/y.iso").path


def test_contents_are_in_the_order_in_which_files_are_listed() -> None:
    """By descriptor, then as its folders show them: `--background all` completes them so."""
    files = [entry(path, number) for number, path in enumerate(["z", "b/y", "b/x/2", "a", "b/x/1"])]
    result = built(document("n.meta4", entry("first", 8), entry("second", 9)), document("m.meta4", *files))

    order = [content.key for content in result.contents.values()]
    listed = ["a", "b/x/1", "b/x/2", "b/y", "z", "first", "second"]
    assert [file_at(result, path).content.key for path in listed] == order


def test_a_descriptor_without_wanted_entries_shows_nothing() -> None:
    """Its folder is not shown either."""
    assert sorted(
        paths(built(document("a/c/n.meta4", cautions=UNWANTED), document("b/x.meta4", entry("x.iso"))).tree)
    ) == [
        "",
        "b",
        "b/x.iso",
    ]


def test_unsafe_paths_are_not_shown() -> None:
    """Whatever a parser lets through, nothing leads out of the mount."""
    bad = [entry("../x", 1), entry("/etc/x", 2), entry("a\0b", 3), entry("x/" * (PATH_MAX // 2 + 1) + "y", 4)]
    result = built(document("n.meta4", *bad))

    assert set() == shown(result)
    assert [caution.code for caution in result.cautions] == ["unsafe-path"] * 4


def test_what_a_descriptor_loses_is_told() -> None:
    """The status tells it where other files of the same descriptor are shown; else its note does."""
    lost = [Caution("unsafe-name", f'the name "../{number}" leads upwards') for number in range(12)]
    others = (Caution("name-clash", "is both", "a/b"), Caution("bad-date", "is odd"))
    result = built(document("n.meta4", entry("a"), cautions=(*lost, *others)))

    assert {"a"} == shown(result)
    [told] = result.cautions
    assert told.code == "left-out"
    assert told.message.startswith(
        'n.meta4: not all that it names is shown as it stands: the name "../0" leads upwards; '
    )
    assert told.message.endswith("; and 3 more")


def test_a_file_with_nothing_left_to_fetch_it_from_is_told_of() -> None:
    """With the reason; what is shown has its cautions in its own status."""
    cautions = (
        Caution("bad-date", "is odd", "a"),
        Caution("relative-url", "a URL is relative and there is no base URL", "b"),
        Caution("no-sources", "nothing is left to fetch it from", "b"),
    )
    [told] = built(document("n.meta4", entry("a"), cautions=cautions)).cautions

    assert told.message == (
        "n.meta4: not all that it names is shown as it stands: b: a URL is relative and there is no base URL; "
        "b: nothing is left to fetch it from"
    )


def test_deep_paths_need_no_deep_stack() -> None:
    """A path of the greatest length is built like any other."""
    deep = "x/" * (PATH_MAX // 2 - 1) + "y"
    result = built(document("n.meta4", entry(deep, 1)), document("o.meta4", entry(deep, 2)))

    assert result.tree.files == 2


def test_sizes_that_no_file_has_are_not_shown() -> None:
    """The kernel's 63 bits are the limit."""
    result = built(document("n.meta4", entry("x", 1, LARGEST + 1), entry("y", 2, LARGEST)))

    assert {"y"} == shown(result)
    assert [caution.code for caution in result.cautions] == ["bad-size"]


# Names


def test_names_that_are_not_utf8_are_escaped() -> None:
    r"""A byte that is not UTF-8 is shown as `\xNN`."""
    assert clean("caf\udce9.iso") == "caf\\xe9.iso"
    assert clean("\ud800") == "\\ud800"


def test_long_names_are_cut_before_their_extension() -> None:
    """The extension stays, and no character is cut in two."""
    name = clean("é" * 200 + ".iso")

    assert name.endswith("é.iso")
    assert NAME_MAX - 1 <= len(name.encode()) <= NAME_MAX
    assert len(clean("x." + "y" * 400)) == NAME_MAX
    assert numbered("x" * 255, 12, folder=True).endswith("x (12)")


@given(st.text(min_size=1), st.integers(2, 10**6), st.booleans())
def test_every_name_fits(text: str, number: int, folder: bool) -> None:
    """Whatever a name is made of, the result is one that Linux takes."""
    for name in (clean(text), numbered(clean(text), number, folder=folder), fit(clean(text), ".resolving")):
        assert 1 <= len(name.encode()) <= NAME_MAX


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1), st.text(min_size=1), st.booleans())
def test_shown_parts_are_safe(descriptor: str, path: str, alone: bool) -> None:
    """No entry is shown under a name that has a meaning to the kernel."""
    for part in shown_parts(descriptor, PurePosixPath(path), alone=alone):
        assert part not in {"", ".", ".."}
        assert not {"/", "\0"} & set(part)
        assert len(part.encode()) <= NAME_MAX


# Collisions


def test_same_path_and_content_is_one_file_with_all_sources() -> None:
    """Two descriptors of one content at one path add up."""
    one = document("x.meta4", entry("b.iso", mirrors=mirrors("one")))
    two = document("y.meta4", entry("b.iso", mirrors=mirrors("two")))
    result = built(two, one)

    assert {"b.iso"} == shown(result)
    assert mirrors("one", "two") == file_at(result, "b.iso").content.mirrors
    assert result.cautions == ()


def test_same_path_and_a_common_digest_is_one_file() -> None:
    """A weaker digest in common is enough where the path is the same and nothing differs."""
    one = document("x.meta4", entry("b.iso", digests={"sha-256": digest(1), "sha-1": b"1" * 20}))
    two = document("y.meta4", entry("b.iso", digests={"sha-1": b"1" * 20}, mirrors=mirrors("two")))
    result = built(one, two)

    assert {"b.iso"} == shown(result)
    assert mirrors("two") == file_at(result, "b.iso").content.mirrors
    assert {file_at(result, "b.iso").content.key} == set(result.contents)


def test_same_path_and_other_content_is_renamed() -> None:
    """The first by descriptor name keeps the path; the other becomes `NAME (2).EXT` and says so."""
    result = built(document("z.meta4", entry("b.iso", 2)), document("a.meta4", entry("b.iso", 1)))

    assert {"b.iso", "b (2).iso"} == shown(result)
    assert digest(1) == file_at(result, "b.iso").content.digests["sha-256"]
    (caution,) = result.cautions
    assert (caution.code, caution.file) == ("renamed", "b.iso")
    assert caution.message == "another file has this name; that of z.meta4 is called b (2).iso"
    assert (caution,) == file_at(result, "b (2).iso").cautions


def test_a_third_with_the_losers_content_joins_it() -> None:
    """Contents that lost the name are united as well."""
    documents = [
        document(f"{n}.meta4", entry("b.iso", k, mirrors=mirrors(n))) for n, k in [("x", 1), ("y", 2), ("z", 2)]
    ]
    result = built(*documents)

    assert {"b.iso", "b (2).iso"} == shown(result)
    assert mirrors("y", "z") == file_at(result, "b (2).iso").content.mirrors


def test_a_loser_takes_nobody_elses_name() -> None:
    """Who wants the name `b (2).iso` itself keeps it, however late it comes."""
    documents = [
        document(f"{n}.meta4", entry(path, k))
        for n, path, k in [("x", "b.iso", 1), ("y", "b.iso", 2), ("z", "b (2).iso", 3)]
    ]
    result = built(*documents)

    assert {"b.iso", "b (2).iso", "b (3).iso"} == shown(result)
    assert digest(3) == file_at(result, "b (2).iso").content.digests["sha-256"]


def test_a_folder_that_comes_after_a_file_is_renamed() -> None:
    """All that is in it follows."""
    result = built(document("x.meta4", entry("n", 1)), document("y.meta4", entry("n/p", 2), entry("n/q", 3)))

    assert {"n", "n (2)/p", "n (2)/q"} == shown(result)
    assert [caution.code for caution in result.cautions] == ["renamed"]


def test_a_file_that_comes_after_a_folder_is_renamed() -> None:
    """As with two files."""
    result = built(document("x.meta4", entry("n.d/p", 1), entry("q", 3)), document("y.meta4", entry("n.d", 2)))

    assert {"n (2).d", "n.d/p", "q"} == shown(result)


def test_folders_of_the_source_keep_their_names() -> None:
    """No entry pushes a user's own folder aside."""
    result = built(document("a.meta4", entry("b", 1)), document("b/x.iso.meta4", entry("x.iso", 2)))

    assert {"b (2)", "b/x.iso"} == shown(result)


def test_one_path_twice_in_one_descriptor() -> None:
    """Within a descriptor its own order decides."""
    result = built(document("x.meta4", entry("b.iso", 1), entry("b.iso", 2), entry("b.iso", 1)))

    assert {"b.iso", "b (2).iso"} == shown(result)


# Contents


def test_one_content_at_two_paths_is_one_content() -> None:
    """Both files have the sources of both."""
    result = built(
        document("x.meta4", entry("b.iso", mirrors=mirrors("one"))),
        document("c/y.meta4", entry("c.iso", mirrors=mirrors("two"))),
    )

    assert len(result.contents) == 1
    assert file_at(result, "b.iso").content is file_at(result, "c/c.iso").content
    assert set(mirrors("one", "two")) == set(file_at(result, "b.iso").content.mirrors)


def test_contents_that_contradict_each_other_are_kept_apart() -> None:
    """The same strong digest with another weak one: two contents, two keys."""
    weak = [
        document(f"{n}.meta4", entry(f"{n}.iso", digests={"sha-256": digest(1), "md5": n.encode() * 16})) for n in "abc"
    ]
    result = built(*weak)

    assert len(result.contents) == 3
    assert {content.key for content in result.contents.values()} == set(result.contents)
    assert file_at(result, "b.iso").content.digests["md5"] == b"b" * 16


def test_contents_that_cut_alike_but_differ_are_kept_apart() -> None:
    """The same digest of the whole with other piece digests."""
    pieces = [PieceDigests("sha-1", 10, n.encode() * 20) for n in "ab"]
    result = built(document("x.meta4", entry("a", pieces=pieces[0]), entry("b", pieces=pieces[1])))

    assert len(result.contents) == 2


def test_contradictions_are_bounded() -> None:
    """Who says too much about one digest is left out with a caution."""
    entries = [entry(f"{n}", digests={"sha-256": digest(1), "md5": bytes([n]) * 16}) for n in range(MOST_VARIANTS + 2)]
    result = built(document("x.meta4", *entries))

    assert result.tree.files == MOST_VARIANTS
    assert [caution.code for caution in result.cautions] == ["conflict"] * 2


def test_cautions_of_an_entry_are_its_files() -> None:
    """What a parser had to say about a file is found at the file."""
    caution = Caution("bad-digest", "dropped", "b.iso")
    result = built(document("x.meta4", entry("b.iso"), cautions=(caution, Caution("other", "of all"))))

    assert (caution,) == file_at(result, "b.iso").cautions


# Notes


def test_a_refused_descriptor_says_why() -> None:
    """`NAME.error` is named after the descriptor's file and is a line of text."""
    result = built(refused("a/b.iso.meta4", "not-well-formed", "line 3 is cut off"))
    note = note_at(result, "a/b.iso.meta4.error")

    assert note.text == b"b.iso.meta4 can't be used (not-well-formed): line 3 is cut off\n"
    assert (note.state, note.reason) == ("error", "line 3 is cut off")


def test_an_entry_of_unknown_size_waits() -> None:
    """An empty `NAME.resolving` stands for it until the size is learned."""
    unsized = entry("b.iso", size=None)
    waiting = built(document("x.meta4", unsized), pending={size_key(unsized): Pending("no answer")})
    note = note_at(waiting, "b.iso.resolving")
    known = built(document("x.meta4", unsized), sizes={size_key(unsized): Learned(77)})

    assert (note.text, note.state, note.reason) == (b"", "resolving", "no answer")
    assert {size_key(unsized): (unsized,)} == waiting.unresolved
    assert {"b.iso"} == shown(known)
    assert file_at(known, "b.iso").size == 77
    assert known.unresolved == {}


def test_a_plain_address_becomes_what_its_server_says() -> None:
    """Of an entry that is addresses alone, digests and mirrors are taken too; beside digests only the size."""
    plain = entry("b.iso", size=None, digests={}, mirrors=mirrors("own"))
    told = Learned(77, {"sha-256": digest(5)}, (*mirrors("own"), *mirrors("other")))
    file = file_at(built(document("x.uris", plain), sizes={size_key(plain): told}), "b.iso")

    assert file.content.digests == {"sha-256": digest(5)}
    assert file.content.mirrors == mirrors("own", "other")
    digested = entry("c.iso", 3, None, mirrors=mirrors("own"))
    file = file_at(built(document("x.meta4", digested), sizes={size_key(digested): told}), "c.iso")
    assert (file.size, file.content.digests, file.content.mirrors) == (77, {"sha-256": digest(3)}, mirrors("own"))
    undigested = Learned(77, {}, mirrors("other"))
    file = file_at(built(document("x.uris", plain), sizes={size_key(plain): undigested}), "b.iso")
    assert file.content.mirrors == mirrors("own")


def test_a_magnet_to_a_swarm_alone_waits() -> None:
    """And says what for; one with mirrors is a file and has no note."""
    swarm = Magnet("film.mkv", btih=bytes(20))
    other = Magnet("b.iso", sources=mirrors("one"), digests={"sha-1": bytes(20)}, size=3)
    result = built(document("a/x.magnet", entry("b.iso", size=3), magnets=(swarm, other)))

    assert {"a/b.iso", "a/film.mkv.resolving"} == shown(result)
    note = note_at(result, "a/film.mkv.resolving")
    assert (note.text, note.state, note.reason) == (b"", "resolving", "peers are being asked what is in it")
    unsized = built(document("x.uris", entry("b.iso", size=None, mirrors=mirrors("one"))))
    assert note_at(unsized, "b.iso.resolving").reason == "its mirrors are being asked how long it is"
    assert [key for key, entries in result.unresolved.items() if entries[0].path.name == "film.mkv"]
    assert {"movie.mkv.resolving"} == shown(built(document("movie.mkv.magnet", magnets=(swarm,))))


def test_a_descriptor_of_which_nothing_is_left_says_why() -> None:
    """Unless the user prefers other files."""
    cautions = (Caution("unsafe-name", "the name leads upwards"), Caution("no-sources", "nothing is left", "b.iso"))
    note = note_at(built(document("x.meta4", cautions=cautions)), "x.meta4.error")

    assert b"the name leads upwards; b.iso: nothing is left" in note.text
    assert note.state == "error"
    many = tuple(Caution("bad-url", "a URL is empty") for _ in range(50))
    assert b"and 40 more" in note_at(built(document("x.meta4", cautions=many)), "x.meta4.error").text
    assert set() == shown(built(document("x.meta4", cautions=UNWANTED)))


def test_entries_of_one_unknown_size_wait_once() -> None:
    """One note for a path, one question for a digest, with the sources of all that have it."""
    one = entry("b.iso", size=None, mirrors=mirrors("one"))
    two = entry("b.iso", size=None, mirrors=mirrors("two"))
    result = built(document("x.meta4", one), document("y.meta4", two), document("z.meta4", entry("b.iso", 9, None)))

    assert {"b.iso.resolving", "b.iso (2).resolving"} == shown(result)
    assert (one, two) == result.unresolved[size_key(one)]


def test_a_learned_size_that_no_file_has() -> None:
    """Is a caution, not a crash."""
    unsized = entry("b.iso", size=None)

    assert set() == shown(built(document("x.meta4", unsized), sizes={size_key(unsized): Learned(-1)}))


def test_notes_yield_to_files() -> None:
    """A file that is called like a note keeps its name."""
    result = built(refused("b.meta4"), document("x.meta4", entry("b.meta4.error"), entry("y", 2)))

    assert {"b.meta4.error", "b.meta4 (2).error", "y"} == shown(result)
    assert file_at(result, "b.meta4.error").size == 10


def test_a_signature_stands_beside_its_file() -> None:
    """Under the file's shown name and the signature's own extension."""
    signed = entry("b.iso", signature=Signature("application/pgp-signature", "-----BEGIN", "b.iso.asc"))
    result = built(document("c.iso.meta4", signed), document("d/x.meta4", signed))

    assert {"c.iso", "c.iso.asc", "d/b.iso", "d/b.iso.asc"} == shown(result)
    assert (note_at(result, "c.iso.asc").text, note_at(result, "c.iso.asc").state) == (b"-----BEGIN", "complete")


def test_a_signature_yields_to_a_file() -> None:
    """A real file of that name is what is shown."""
    signed = entry("b.iso", signature=Signature("application/pgp-signature", "-----BEGIN", "b.iso.asc"))
    result = built(document("x.meta4", signed), document("y.meta4", entry("b.iso.asc", 2)))

    assert file_at(result, "b.iso.asc").size == 10


def test_a_signatures_name_leads_nowhere() -> None:
    """Path signs in it make it no sidecar."""
    signed = entry("b.iso", signature=Signature("application/pgp-signature", "x", "../evil.asc"))

    assert {"b.iso"} == shown(built(document("x.meta4", signed)))


def test_the_second_descriptors_signature_serves_when_the_first_has_none() -> None:
    """A file that two descriptors give has what either knows."""
    signed = entry("b.iso", signature=Signature("application/pgp-signature", "x", "b.iso.asc"))

    assert {"b.iso", "b.iso.asc"} == shown(built(document("x.meta4", entry("b.iso")), document("y.meta4", signed)))


# Dates and inodes


def test_dates() -> None:
    """Updated, else published, else the descriptor file's own; a folder's is the newest inside."""
    result = built(
        document("a/x.meta4", entry("1", 1), mtime_ns=5, published_ns=20, updated_ns=30),
        document("a/y.meta4", entry("2", 2), mtime_ns=5, published_ns=20),
        document("a/z.meta4", entry("3", 3), mtime_ns=7),
        document("q.meta4", entry("4", 4), mtime_ns=-9),
    )

    assert [file_at(result, path).mtime_ns for path in ("a/1", "a/2", "a/3", "4")] == [30, 20, 7, 0]
    folder = result.tree.find(PurePosixPath("a"))
    assert folder is not None
    assert (folder.mtime_ns, result.tree.root.mtime_ns) == (30, 30)
    assert built(mtime_ns=44).tree.root.mtime_ns == 44


def test_inodes_follow_content() -> None:
    """What stays keeps its inode; what changes its content gets another."""
    inodes = Inodes()
    before = build([document("a/x.meta4", entry("b.iso", 1), entry("c.iso", 2))], inodes, {})
    after = build([document("a/x.meta4", entry("b.iso", 1), entry("c.iso", 3))], inodes, {})

    assert file_at(before, "a/b.iso").inode == file_at(after, "a/b.iso").inode
    assert file_at(before, "a/b.iso").parent == file_at(after, "a/b.iso").parent
    assert file_at(before, "a/c.iso").inode != file_at(after, "a/c.iso").inode


NAMES = st.sampled_from(["a", "b", "a (2)", "b.iso", "b (2).iso", "b.iso.asc", "a.resolving", "x.meta4.error"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
ENTRIES = st.builds(
    entry,
    PATHS,
    st.integers(0, 3),
    st.sampled_from([10, 10, 11, None]),
    mirrors=st.sampled_from([mirrors("one"), mirrors("two", "three")]),
    signature=st.sampled_from([None, Signature("application/pgp-signature", "x", "b.iso.asc")]),
)
SAID = st.one_of(
    st.lists(ENTRIES, max_size=4).map(lambda found: Descriptor("metalink4", tuple(found))),
    st.just(DescriptorError("empty", "it is empty")),
)
DOCUMENTS = st.dictionaries(
    PATHS.map(lambda path: path + "/x.meta4") | st.sampled_from(["x.meta4", "b.iso.meta4"]), SAID, max_size=6
).map(lambda found: [Document(path, 5, said) for path, said in found.items()])


@settings(max_examples=300)
@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_laws_of_a_tree(documents: list[Document], shuffler: random.Random) -> None:
    """One node for each path, the same whatever the order, and inodes that hold."""
    inodes = Inodes()
    first = build(documents, inodes, {})
    shuffled = documents[:]
    shuffler.shuffle(shuffled)
    again = build(shuffled, inodes, {})

    assert paths(first.tree) == paths(again.tree)
    assert first.contents == again.contents
    assert first.unresolved == again.unresolved
    assert first.cautions == again.cautions
    nodes = paths(first.tree).values()
    assert len({node.inode for node in nodes}) == len(nodes)
    assert {node.content.key for node in nodes if isinstance(node, File)} == set(first.contents)
    assert all(node.children for node in nodes if isinstance(node, Directory) and node.inode != ROOT)


@given(DOCUMENTS, DOCUMENTS)
def test_inodes_of_two_trees_agree(earlier: list[Document], later: list[Document]) -> None:
    """An inode in two trees is the same path, kind and content."""
    inodes = Inodes()
    before = {node.inode: (path, node) for path, node in paths(build(earlier, inodes, {}).tree).items()}
    after = {node.inode: (path, node) for path, node in paths(build(later, inodes, {}).tree).items()}

    def meaning(path: str, node: Node) -> tuple[object, ...]:
        what = node.content.key if isinstance(node, File) else node.text if isinstance(node, Note) else None
        return path, type(node), what

    for inode in before.keys() & after.keys():
        assert meaning(*before[inode]) == meaning(*after[inode])
    same = {meaning(*found) for found in before.values()} & {meaning(*found) for found in after.values()}
    assert len(same) == len(before.keys() & after.keys())


def test_an_entry_that_only_a_document_leads_to_waits_for_it() -> None:
    """Its size may be known: without a place to fetch it from, reading it would only fail."""
    lonely = Entry(PurePosixPath("b.iso"), 5, swarms=(SwarmRef("http://h/m", "application/metalink4+xml"),))
    first = built(document("x.meta4", lonely))
    assert set(shown(first)) == {"b.iso.resolving"}
    assert set(first.unresolved) == {size_key(lonely)}

    told = Learned(5, mirrors=(MirrorRef("http://h/b"),), described=True)
    assert set(shown(built(document("x.meta4", lonely), sizes={size_key(lonely): told}))) == {"b.iso"}


def test_an_entry_that_a_document_may_tell_more_of_is_shown_meanwhile() -> None:
    """And asked for, once for all that are the same; what was remembered is asked for all the same."""
    swarms = (SwarmRef("http://h/m", "application/metalink4+xml"),)
    one = Entry(PurePosixPath("b.iso"), 5, {"sha-1": bytes(20)}, mirrors=(MirrorRef("http://h/b"),), swarms=swarms)
    first = built(document("x.meta4", one), document("y.meta4", one))
    assert set(shown(first)) == {"b.iso"}
    assert first.unresolved == {size_key(one): (one,)}

    told = Learned(5, mirrors=(MirrorRef("http://o/b"),), pieces=PieceDigests("md5", 5, bytes(16)), described=True)
    later = built(document("x.meta4", one), sizes={size_key(one): told})
    [content] = later.contents.values()
    assert (content.level, len(content.mirrors), later.unresolved) == (Level.CHUNK, 2, {})
    kept = built(document("x.meta4", one), sizes={size_key(one): replace(told, remembered=True)})
    assert kept.contents == later.contents
    assert set(kept.unresolved) == {size_key(one)}


def addressed(name: str, host: str) -> Entry:
    """Return what a list says of an address that ends in *name*."""
    return Entry(PurePosixPath(name), mirrors=(MirrorRef(f"http://{host}/{name}"),), named=False)


def told(*names: tuple[Entry, str | None]) -> dict[Any, Learned]:
    return {size_key(each): Learned(number, name=name) for number, (each, name) in enumerate(names, 7)}


def test_a_server_names_what_has_only_an_address() -> None:
    """Where nothing else tells its name; the address was its name until then."""
    one, two = addressed("download", "a"), replace(addressed("content", "b"), named=True)
    waiting = built(document("x.uris", one, two))
    assert {"download.resolving", "content.resolving"} == shown(waiting)
    assert [note_at(waiting, f"{name}.resolving").unnamed for name in ("download", "content")] == [True, False]

    named = built(document("x.uris", one, two), sizes=told((one, "film.mkv"), (two, "other.mkv")))
    assert {"film.mkv", "content"} == shown(named)
    assert [file_at(named, name).called for name in ("film.mkv", "content")] == [True, False]
    assert {"download", "content"} == shown(built(document("x.uris", one, two), sizes=told((one, None), (two, None))))


def test_what_a_server_named_takes_no_name_from_others() -> None:
    """Whatever comes before it. Of two that are called the same the first has the name, whichever answered first."""
    one, two, other = addressed("1", "a"), addressed("2", "a"), entry("film.mkv", size=3)
    lists = document("a.uris", one, two), document("b.meta4", other, entry("b.iso", 2))

    later = built(*lists, sizes={size_key(two): Learned(8, name="film.mkv")})
    assert (file_at(later, "film.mkv").size, file_at(later, "film (2).mkv").size) == (3, 8)
    both = built(*lists, sizes=told((one, "film.mkv"), (two, "film.mkv")))
    assert [file_at(both, name).size for name in ("film.mkv", "film (2).mkv", "film (3).mkv")] == [3, 7, 8]
    assert [each.file for each in both.cautions] == ["film.mkv", "film.mkv"]


def test_a_file_named_after_its_descriptor_stays_so() -> None:
    """As it does when the descriptor itself says how it is called."""
    one = addressed("download", "a")
    assert {"x.mkv"} == shown(built(document("x.mkv.uris", one), sizes=told((one, "film.mkv"))))
    assert {"film.mkv"} == shown(built(document("x.uris", one), sizes=told((one, "film.mkv"))))
