"""Names that no tree has any more, and that the kernel would keep for as long as it has memory."""

from __future__ import annotations

from typing import Any, cast

import pytest

pytest.importorskip("pyfuse3")

from mountdl.catalog.tree import ROOT, Directory, Inode, Node, Note, Tree
from mountdl.filesystem.files import Files
from mountdl.filesystem.operations import Operations

NOBODY = cast("Any", None)


def tree(**names: int) -> Tree:
    """Return a tree that shows a note of each of *names*, by its inode."""
    nodes: dict[Inode, Node] = {
        ROOT: Directory(ROOT, ROOT, "", {name: Inode(inode) for name, inode in names.items()}, 0)
    }
    nodes |= {Inode(inode): Note(Inode(inode), ROOT, name, b"", 0, "error") for name, inode in names.items()}
    return Tree(nodes, {})


def operations(shown: Tree) -> Operations:
    return Operations(shown, cast("Files", None))


async def look(at: Operations, *names: str) -> None:
    for name in names:
        await at.lookup(cast("Any", ROOT), cast("Any", name.encode()), NOBODY)


async def test_what_the_kernel_knows_and_no_tree_has_is_named_once() -> None:
    made = operations(tree(a=2, b=3, c=4))
    await look(made, "a", "b")
    assert made.gone(10) == []
    made.publish(tree(b=3))
    assert made.gone(10) == [(ROOT, b"a")]
    assert made.gone(10) == []


async def test_what_the_kernel_forgot_may_be_gone_another_time() -> None:
    """Nothing is kept of it here either."""
    made = operations(tree(a=2))
    await look(made, "a")
    made.publish(tree())
    assert made.gone(10) == [(ROOT, b"a")]
    await made.forget(cast("Any", [(2, 1)]))
    assert (made._known, made._retired, made._told) == ({}, {}, set())


async def test_another_file_of_the_name_changes_nothing() -> None:
    """The old one goes; the new one is looked up when it is asked for."""
    made = operations(tree(a=2))
    await look(made, "a")
    made.publish(tree(a=3))
    assert made.gone(10) == [(ROOT, b"a")]
    await look(made, "a")
    assert made.gone(10) == []


async def test_what_is_open_is_named_once_it_is_closed() -> None:
    made = operations(tree(a=2))
    await look(made, "a")
    opened = await made.open(cast("Any", 2), cast("Any", 0), cast("Any", type("Context", (), {"pid": 1})()))
    made.publish(tree())
    assert made.gone(10) == []
    await made.release(opened.fh)
    assert made.gone(10) == [(ROOT, b"a")]


async def test_no_more_than_asked_for() -> None:
    made = operations(tree(a=2, b=3, c=4))
    await look(made, "a", "b", "c")
    made.publish(tree())
    assert [len(made.gone(2)), len(made.gone(2)), len(made.gone(2))] == [2, 1, 0]
