"""Snapshots of what the mount shows, and the inodes in them."""

from dataclasses import replace
from pathlib import PurePosixPath

from mountdl.catalog.tree import ROOT, Directory, File, Inode, Inodes, Note, Tree, empty
from mountdl.content import ContentKey, content_of
from mountdl.descriptors.model import Entry

CONTENT = content_of(Entry(PurePosixPath("b.iso"), 10, {"sha-256": b"\1" * 32}), 10)
FOLDER = Directory(Inode(2), ROOT, "a", {"b.iso": Inode(3)}, 7)
FILE = File(Inode(3), Inode(2), "b.iso", "a/b.iso", CONTENT, 7)
NOTE = Note(Inode(4), ROOT, "x.meta4.error", b"no\n", 5, "error", "no")
TOP = Directory(ROOT, ROOT, "", {"a": Inode(2), "x.meta4.error": Inode(4)}, 7)


def a_tree() -> Tree:
    return Tree({ROOT: TOP, Inode(2): FOLDER, Inode(3): FILE, Inode(4): NOTE}, {CONTENT.key: CONTENT})


def test_lookup_goes_one_name_down() -> None:
    """A child is found by its directory's inode and its name."""
    tree = a_tree()

    assert tree.child(ROOT, "a") == FOLDER
    assert tree.child(Inode(2), "b.iso") == FILE
    assert tree.child(ROOT, "b.iso") is None
    assert tree.child(Inode(3), "b.iso") is None
    assert tree.child(Inode(99), "b.iso") is None


def test_find_goes_all_the_way() -> None:
    """A path leads from the root to its node, or nowhere."""
    tree = a_tree()

    assert tree.find(PurePosixPath("a/b.iso")) == FILE
    assert tree.find(PurePosixPath()) == TOP
    assert tree.find(PurePosixPath("a/none/b.iso")) is None


def test_totals_count_files_only() -> None:
    """Files and bytes leave notes out."""
    tree = a_tree()

    assert (tree.files, tree.bytes) == (1, 10)
    assert {CONTENT.key: CONTENT} == tree.contents()
    assert list(tree.nodes()) == [TOP, FOLDER, FILE, NOTE]
    assert tree.node(Inode(4)) == NOTE
    assert (FILE.size, NOTE.size) == (10, 3)


def test_empty_tree_has_a_root() -> None:
    """Nothing to show is still a directory."""
    tree = empty(5)

    assert tree.root == Directory(ROOT, ROOT, "", {}, 5)
    assert (tree.files, tree.bytes) == (0, 0)


def test_inodes_are_stable_and_never_given_twice() -> None:
    """The same thing keeps its inode; another thing, or the same after a gap, gets a new one."""
    inodes = Inodes()

    def snapshot(**shown: str) -> list[Inode]:
        found = {name: inodes.assign(ROOT, name, key) for name, key in shown.items()}
        files = {
            inode: File(inode, ROOT, name, name, replace(CONTENT, key=ContentKey(shown[name])), 7)
            for name, inode in found.items()
        }
        inodes.settle(Tree({ROOT: Directory(ROOT, ROOT, "", found, 7), **files}, {}))
        return list(found.values())

    first, other = snapshot(b="key-1", c="key-1")
    again, changed = snapshot(b="key-1", c="key-2")
    [back] = snapshot(c="key-1")

    assert first == again
    assert len({int(ROOT), first, other, changed, back}) == 5
