"""Turn folders whose names are settled into an immutable tree.

`Folder`, `Leaf` and `Memo` are what a tree is made of while names are given out; `freeze` drops empty
folders, works out dates and assigns inodes. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mountdl.catalog.kept import KeptFile
from mountdl.catalog.pools import Pool
from mountdl.catalog.tree import ROOT, Directory, Expected, File, Inode, Inodes, Node, Note, Tree
from mountdl.content import ContentKey, Outline
from mountdl.descriptors.model import Caution, Entry, Signature


@dataclass(frozen=True, slots=True)
class Memo:
    """A note that has no inode yet."""

    text: bytes
    mtime_ns: int
    state: str
    reason: str = ""
    expected: Expected = Expected.NOTHING
    descriptor: str = ""
    unnamed: bool = False


class Folder:
    """A directory in the making; *aside* holds folders that wait for another name than they wanted."""

    __slots__ = ("aside", "children", "inode", "mtime_ns", "name", "parent")

    def __init__(self, parent: "Folder | None", name: str) -> None:
        self.parent = parent
        self.name = name
        self.children: dict[str, Folder | Leaf | Memo] = {}
        self.aside: dict[str, Folder] = {}
        self.inode = ROOT
        self.mtime_ns = 0

    def names(self) -> tuple[str, ...]:
        """Return the names from the root down to this folder."""
        names: list[str] = []
        folder: Folder | None = self
        while folder is not None and folder.parent is not None:
            names.append(folder.name)
            folder = folder.parent
        return tuple(reversed(names))


class Leaf:
    """A file in the making, of what a descriptor *said*; *called*: by its server."""

    __slots__ = (
        "also",
        "called",
        "cautions",
        "descriptor",
        "mtime_ns",
        "name",
        "outline",
        "parent",
        "pool",
        "said",
        "signature",
    )

    parent: Folder
    pool: Pool | None
    outline: Outline

    def __init__(
        self,
        name: str,
        said: Entry | KeptFile,
        mtime_ns: int,
        cautions: tuple[Caution, ...],
        descriptor: str,
        *,
        called: bool = False,
    ) -> None:
        self.name = name
        self.descriptor = descriptor
        self.said = said
        self.mtime_ns = mtime_ns
        self.cautions = cautions
        self.called = called
        self.also: tuple[str, ...] = ()
        self.pool = None
        self.signature: Signature | None = said.signature if isinstance(said, Entry) else None

    @property
    def entry(self) -> Entry:
        """What the descriptor says of it."""
        return self.said if isinstance(self.said, Entry) else self.said.entry

    def absorb(self, other: "Leaf") -> None:
        """Stand for *other* too, which has the same path and content; what this one has wins."""
        self.signature = self.signature or other.signature
        self.also += (other.descriptor, *other.also)


def freeze(folders: Sequence[Folder], contents: Mapping[ContentKey, Outline], inodes: Inodes, mtime_ns: int) -> Tree:
    """Return the tree of *folders*: the root first, each after its parent.

    *mtime_ns* is the root's when nothing is in it.
    """
    _date_and_prune(folders, mtime_ns)
    nodes: dict[Inode, Node] = {}
    paths: dict[Inode, str] = {ROOT: ""}
    for folder in folders:
        if folder.parent is not None and not folder.children:
            continue
        parent = ROOT if folder.parent is None else folder.parent.inode
        path = paths[folder.inode] = _join(paths[parent], folder.name)
        children = {name: _assign(inodes, folder, name) for name in sorted(folder.children)}
        directory = Directory(folder.inode, parent, folder.name, children, folder.mtime_ns)
        nodes[folder.inode] = inodes.again(directory)
        for name, inode in children.items():
            child = folder.children[name]
            if isinstance(child, Leaf):
                place, outline = _join(path, name), child.outline
                dated = child.mtime_ns, child.cautions, child.descriptor, child.called, child.also
                nodes[inode] = inodes.again(File(inode, folder.inode, name, place, outline, *dated))
            elif isinstance(child, Memo):
                told = child.text, child.mtime_ns, child.state, child.reason, child.expected, child.descriptor
                nodes[inode] = Note(inode, folder.inode, name, *told, child.unnamed)
    tree = Tree(nodes, contents)
    inodes.settle(tree)
    return tree


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _date_and_prune(folders: Sequence[Folder], mtime_ns: int) -> None:
    for folder in reversed(folders):
        folder.mtime_ns = max((child.mtime_ns for child in folder.children.values()), default=mtime_ns)
        if not folder.children and folder.parent is not None:
            del folder.parent.children[folder.name]


def _assign(inodes: Inodes, folder: Folder, name: str) -> Inode:
    child = folder.children[name]
    if isinstance(child, Folder):
        child.inode = inodes.assign(folder.inode, name, "directory")
        return child.inode
    if isinstance(child, Leaf):
        return inodes.assign(folder.inode, name, child.outline.key)
    return inodes.assign(folder.inode, name, (child.state, child.text))
