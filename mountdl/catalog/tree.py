"""What the mount shows at one moment, as an immutable snapshot.

Law: a tree never changes; a changed source gives another tree. Every name is text without lone
surrogates, at most `NAME_MAX` bytes in UTF-8, never ".", ".." or with "/" in it. An inode means the same
path, kind and content in every tree of one `Inodes`, and is never given to anything else.

Knows neither descriptors nor the disk.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import NewType

from mountdl.content import Content, ContentKey, Outline
from mountdl.descriptors.model import Caution

Inode = NewType("Inode", int)
"""The kernel's number for a node."""

ROOT = Inode(1)
"""The root's inode: FUSE fixes it."""

NAME_MAX = 255
"""Bytes of the longest name that Linux takes."""


class Expected(Enum):
    """What may tell more of what a note stands for at any time, without being asked anew."""

    NOTHING = "nothing"
    SERVERS = "servers"
    """They are asked for the first time."""
    BYTES = "bytes"
    """All of it is on its way."""
    PEERS = "peers"
    """Only they know, which may take long."""


@dataclass(frozen=True, slots=True)
class Directory:
    """A folder; *children* are sorted by name. The root is its own parent and has no name."""

    inode: Inode
    parent: Inode
    name: str
    children: Mapping[str, Inode]
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class File:
    """A file that descriptors describe; *path* is relative to the root, *cautions* are what to know about it.

    *descriptor* is the path, below the source, of the one that named it first, *also* those of others that show it
    here. *called*: by its server, so that any other that has this name goes before it.
    """

    inode: Inode
    parent: Inode
    name: str
    path: str
    outline: Outline
    mtime_ns: int
    cautions: tuple[Caution, ...] = ()
    descriptor: str = ""
    called: bool = False
    also: tuple[str, ...] = ()

    @property
    def content(self) -> Content:
        """All that is known of its bytes. Raises StoreError."""
        return self.outline.full

    @property
    def size(self) -> int:
        """Bytes in it."""
        return self.outline.size


@dataclass(frozen=True, slots=True)
class Note:
    """A small file that mountdl writes itself, whole in *text*.

    *state* is "error" (a refused descriptor), "resolving" (an entry of unknown size, empty text) or
    "complete" (a signature); *reason* says why, for the first two, and *expected* what may change that at any time.
    *descriptor* is as in `File`. *unnamed*: what it stands for may be called something else by its server.
    """

    inode: Inode
    parent: Inode
    name: str
    text: bytes
    mtime_ns: int
    state: str
    reason: str = ""
    expected: Expected = Expected.NOTHING
    descriptor: str = ""
    unnamed: bool = False

    @property
    def size(self) -> int:
        """Bytes in it."""
        return len(self.text)


Node = Directory | File | Note


class Tree:
    """An immutable snapshot of everything shown."""

    __slots__ = ("_contents", "_nodes", "bytes", "files")

    def __init__(self, nodes: Mapping[Inode, Node], contents: Mapping[ContentKey, Outline]) -> None:
        self._nodes = nodes
        self._contents = contents
        self.files = sum(type(node) is File for node in nodes.values())
        """How many files it shows, notes not counted."""
        self.bytes = sum(node.size for node in nodes.values() if type(node) is File)
        """The sum of their sizes."""

    @property
    def root(self) -> Directory:
        """The top."""
        top = self._nodes[ROOT]
        assert isinstance(top, Directory)  # noqa: S101  # every constructor below puts one there
        return top

    def node(self, inode: Inode) -> Node | None:
        """Return the node of *inode*, or None when this snapshot has none."""
        return self._nodes.get(inode)

    def child(self, inode: Inode, name: str) -> Node | None:
        """Return what directory *inode* has under *name*, or None."""
        parent = self._nodes.get(inode)
        if not isinstance(parent, Directory):
            return None
        found = parent.children.get(name)
        return None if found is None else self._nodes[found]

    def find(self, path: PurePosixPath) -> Node | None:
        """Return the node at *path* below the root, or None."""
        node: Node | None = self.root
        for name in path.parts:
            node = None if node is None else self.child(node.inode, name)
        return node

    def nodes(self) -> Iterator[Node]:
        """Yield every node, a directory before what is in it."""
        return iter(self._nodes.values())

    def contents(self) -> Mapping[ContentKey, Outline]:
        """Return every content shown, by key."""
        return self._contents


def empty(mtime_ns: int = 0) -> Tree:
    """Return the tree that shows nothing."""
    return Tree({ROOT: Directory(ROOT, ROOT, "", {}, mtime_ns)}, {})


class Inodes:
    """Gives out inodes; the same one to the same thing for as long as each snapshot shows it.

    What a snapshot no longer shows is forgotten; its inode is never given out again. It remembers nothing but the
    last snapshot, for a table of its own takes 250 bytes a file.
    """

    __slots__ = ("_earlier", "_next")

    def __init__(self) -> None:
        self._next = ROOT + 1
        self._earlier = empty()

    def assign(self, parent: Inode, name: str, identity: Hashable) -> Inode:
        """Return the inode of *name* in *parent*, where *identity* tells kind and content apart (see `identity_of`).

        A parent's own inode stands for its path, so this is stable for a path as a whole.
        """
        before = self._earlier.child(parent, name)
        if before is not None and identity == identity_of(before):
            return before.inode
        inode = Inode(self._next)
        self._next += 1
        return inode

    def again(self, node: Node) -> Node:
        """Return *node*, or the equal one of the last snapshot: while both are there, one is enough in memory."""
        before = self._earlier.node(node.inode)
        return before if before is not None and before == node else node

    def settle(self, tree: Tree) -> None:
        """End a snapshot: what *tree* does not show is forgotten."""
        self._earlier = tree


def identity_of(node: Node) -> Hashable:
    """Return what tells *node* from another one of its name in its folder."""
    if isinstance(node, File):
        return node.outline.key
    return (node.state, node.text) if isinstance(node, Note) else "directory"
