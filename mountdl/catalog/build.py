"""Turn parsed descriptors into the tree that the mount shows.

Law: the same documents, inodes and sizes give the same tree, in whatever order the documents come; no
two nodes have one path. Pure: `build` touches nothing but its arguments, so it may run in a worker
thread as long as *inodes* is in nobody else's hands meanwhile.

Who gets a name that several want: folders of the source that hold descriptors first; then entries in
the order of their descriptors' paths, and within a descriptor in its own order; then those that their
servers named, in the same order; then the losers, too, as `NAME (2).EXT`; then signatures (left out
where the name is taken); then `.error` and `.resolving` notes. An entry of unknown size keeps no name
but its note's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NewType

from mountdl.catalog.document import Document, date_of
from mountdl.catalog.freeze import Folder, Leaf, Memo, freeze
from mountdl.catalog.kept import cautions_by_file, left_out
from mountdl.catalog.names import clean, fit, numbered, shown_parts
from mountdl.catalog.pools import Pool, Pools
from mountdl.catalog.tree import Expected, Inodes, Tree
from mountdl.content import LARGEST, Content, ContentKey, Outline, content_key, content_of
from mountdl.descriptors.learned import Learned, Pending, awaited, completed, documents
from mountdl.descriptors.model import Caution, Descriptor, Entry, Magnet
from mountdl.errors import DescriptorError

SizeKey = NewType("SizeKey", str)
"""What an entry of unknown size is known by until its size is learned."""

CHANGES = "it leads to a torrent that changes (BEP 46), which can't be asked for"
"""Why a magnet link with a public key only stays unresolved."""
MOST_REASONS = 10
"""Reasons told of a descriptor of which files, or all, are not shown."""


@dataclass(frozen=True, slots=True)
class Built:
    """A tree, the entries of which more is to be learned (by key: all that it would serve) and what went wrong.

    Those whose size is not known are not in the tree; others are, as they are. *learned* is of what something was
    known already.
    """

    tree: Tree
    unresolved: Mapping[SizeKey, tuple[Entry, ...]] = field(default_factory=dict)
    cautions: tuple[Caution, ...] = ()
    learned: frozenset[SizeKey] = frozenset()

    @property
    def contents(self) -> Mapping[ContentKey, Outline]:
        """Every content shown, by key."""
        return self.tree.contents()


def size_key(entry: Entry) -> SizeKey:
    """Return what *entry*, of unknown size, is known by: its digest, else its piece digests, else its URLs."""
    return SizeKey(content_key(entry, 0))


def build(
    documents: Sequence[Document],
    inodes: Inodes,
    sizes: Mapping[SizeKey, Learned],
    *,
    pending: Mapping[SizeKey, Pending] | None = None,
    mtime_ns: int = 0,
) -> Built:
    """Build the tree of *documents*.

    Args:
        documents: in any order; one for each path.
        inodes: those of the earlier trees, so that what stays keeps its inode.
        sizes: what was learned of entries whose descriptor gives none.
        pending: why a size could not be learned so far.
        mtime_ns: of the root when nothing is in it.

    """
    builder = _Builder(sizes, pending or {})
    ordered = sorted(documents, key=lambda document: document.path)
    for document in ordered:
        builder.plant(document)
    for document in ordered:
        builder.place(document)
    builder.place_called()
    builder.name_displaced()
    builder.add_signatures()
    builder.add_memos()
    contents = builder.unite()
    tree = freeze(builder.folders, contents, inodes, mtime_ns)
    unresolved = {key: tuple(entries) for key, entries in builder.unresolved.items()}
    # Folders and what is in them name each other: parted, they go at once, without the garbage collector.
    for folder in builder.folders:
        folder.children.clear()
        folder.aside.clear()
    return Built(tree, unresolved, tuple(builder.cautions), frozenset(builder.learned))


class _Builder:
    """The tree while names are given out."""

    def __init__(self, sizes: Mapping[SizeKey, Learned], pending: Mapping[SizeKey, Pending]) -> None:
        self._sizes = sizes
        self._pending = pending
        self._pools = Pools()
        self._planted: dict[str, Folder] = {}
        self._displaced: list[tuple[Folder | Leaf, str]] = []
        self._strays: dict[tuple[Folder, str, Pool | None], Leaf] = {}
        self._leaves: list[Leaf] = []
        self._called: list[tuple[Folder, Leaf, Content, Document]] = []
        self._memos: list[tuple[Folder, str, str, Memo]] = []
        self._awaited: set[tuple[Folder, str, SizeKey]] = set()
        self._numbers: dict[tuple[Folder, str], int] = {}
        top = Folder(None, "")
        self.folders = [top]
        self.unresolved: dict[SizeKey, list[Entry]] = {}
        self.learned: set[SizeKey] = set()
        self.cautions: list[Caution] = []

    def unite(self) -> dict[ContentKey, Outline]:
        """Return what each file shows, by key. Pools go then, before there is a tree: both take 200 bytes a file."""
        contents: dict[ContentKey, Outline] = {}
        for leaf in self._leaves:
            assert leaf.pool is not None  # noqa: S101  # each was claimed
            key = leaf.pool.key
            if key not in contents:
                contents[key] = leaf.pool.content()
            leaf.outline, leaf.pool = contents[key], None
        self._pools = Pools()
        self._strays.clear()
        return contents

    def plant(self, document: Document) -> None:
        """Give the folder of *document* its own name."""
        place = document.folder
        if place not in self._planted:
            folder = self.folders[0]
            for part in place.split("/") if place else ():
                folder = self._enter(folder, clean(part))
            self._planted[place] = folder

    def place(self, document: Document) -> None:
        """Give what *document* says its places, its files in the order of the tree: they are completed in it."""
        folder, said, before = self._planted[document.folder], document.said, len(self._leaves)
        if isinstance(said, DescriptorError):
            self._refuse(folder, document, said)
        elif isinstance(said, Descriptor):
            self._place_said(folder, said, document)
        else:
            for each in said if isinstance(said, tuple) else (said,):
                *parts, name = each.path.split("/")
                leaf = Leaf(name, each, document.mtime_ns, each.cautions, document.path)
                self._claim(self._down(folder, parts), leaf, each, document)
        self._order(before)

    def _order(self, before: int) -> None:
        if len(self._leaves) - before > 1:
            self._leaves[before:] = sorted(self._leaves[before:], key=lambda leaf: (*leaf.parent.names(), leaf.name))

    def place_called(self) -> None:
        """Give what servers named its places."""
        before = len(self._leaves)
        for folder, leaf, content, document in self._called:
            self._claim(folder, leaf, content, document)
        self._order(before)

    def _place_said(self, folder: Folder, said: Descriptor, document: Document) -> None:
        mtime_ns = date_of(said, document.mtime_ns)
        remarks = cautions_by_file(said.cautions)
        self._place_entries(folder, said.entries, mtime_ns, remarks, document)
        swarms = [magnet for magnet in said.magnets if not magnet.mirrored]
        alone = not said.entries and len(swarms) == 1
        for magnet in swarms:
            self._place_magnet(folder, magnet, mtime_ns, document, alone=alone)
        if not said.entries and not swarms:
            self._explain(folder, document, said.cautions)
        elif lost := left_out(said):
            text = f"{document.path}: not all that it names is shown as it stands: {_reasons(lost)}"
            self.cautions.append(Caution("left-out", text))

    def _place_entries(
        self,
        folder: Folder,
        entries: Sequence[Entry],
        mtime_ns: int,
        remarks: Mapping[str, tuple[Caution, ...]],
        document: Document,
    ) -> None:
        for entry in entries:
            parts = shown_parts(document.name, entry.path, alone=len(entries) == 1)
            if not parts:
                self._caution("unsafe-path", f"{document.path} names a path that can't be shown", entry)
                continue
            said = self._completed(entry)
            called = said.path != entry.path
            if called:
                parts = shown_parts(document.name, said.path, alone=len(entries) == 1)
            remarked = remarks.get(str(entry.path), ())
            leaf = Leaf(parts[-1], said, mtime_ns, remarked, document.path, called=called)
            self._place_leaf(folder, parts, leaf, document)

    def _place_magnet(self, folder: Folder, magnet: Magnet, mtime_ns: int, document: Document, *, alone: bool) -> None:
        """Give the files of the torrent that *magnet* leads to their places, or a note its, until it is known."""
        from mountdl.descriptors.magnet import entry_of, selected  # not where no magnet is

        entry = entry_of(magnet)
        learned = self._recall(size_key(entry)) if entry.swarms else None
        if learned is not None and learned.torrent is not None:
            files = selected(magnet, learned.torrent)
            remarks = cautions_by_file(learned.torrent.cautions)
            self._place_entries(folder, files, mtime_ns, remarks, document)
            return
        for part in shown_parts(document.name, PurePosixPath(magnet.name), alone=alone):
            if entry.swarms:
                self._place_leaf(
                    folder, (part,), Leaf(part, self._completed(entry), mtime_ns, (), document.path), document
                )
            else:
                memo = Memo(b"", mtime_ns, "resolving", CHANGES, descriptor=document.path)
                self._memos.append((folder, part, ".resolving", memo))

    def _explain(self, folder: Folder, document: Document, cautions: tuple[Caution, ...]) -> None:
        """Say why nothing of *document* is shown, unless that is what the user prefers."""
        if any(caution.code == "not-preferred" for caution in cautions):
            return
        reasons = _reasons(cautions) or "it describes none"
        self._refuse(folder, document, DescriptorError("no-files", f"no file is left of it: {reasons}"))

    def _place_leaf(self, folder: Folder, parts: tuple[str, ...], leaf: Leaf, document: Document) -> None:
        folder = self._down(folder, parts[:-1])
        size = leaf.entry.size
        if size is None or awaited(leaf.entry):
            self._await_size(folder, leaf)
        elif not 0 <= size <= LARGEST:
            self._caution("bad-size", f"{document.path} names a size that no file can have", leaf.entry)
        elif leaf.called:
            self._called.append((folder, leaf, content_of(leaf.entry, size), document))
        else:
            self._claim(folder, leaf, content_of(leaf.entry, size), document)

    def _down(self, folder: Folder, parts: Sequence[str]) -> Folder:
        for part in parts:
            folder = self._enter(folder, part)
        return folder

    def _completed(self, entry: Entry) -> Entry:
        """Return *entry* with what was learned of it, and have more asked for."""
        if entry.size is not None and not documents(entry):
            return entry
        key = size_key(entry)
        learned = self._recall(key)
        if learned is None or learned.remembered:
            entries = self.unresolved.setdefault(key, [])
            if entry not in entries[-1:]:
                entries.append(entry)
        return entry if learned is None else completed(entry, learned)

    def _recall(self, key: SizeKey) -> Learned | None:
        learned = self._sizes.get(key)
        if learned is not None:
            self.learned.add(key)
        return learned

    def _claim(self, folder: Folder, leaf: Leaf, content: Outline, document: Document) -> None:
        leaf.parent = folder
        there = folder.children.get(leaf.name)
        pool = self._shared(there, content) or self._pools.add(content)
        if pool is None:
            reason = "contradicts too many others that name the same digest"
            self._caution("conflict", f"{document.path} {reason}", leaf.entry)
            return
        leaf.pool = pool
        if there is None:
            folder.children[leaf.name] = leaf
            self._leaves.append(leaf)
        elif isinstance(there, Leaf) and there.pool is pool:
            there.absorb(leaf)
        else:
            self._displace(folder, leaf, document)

    def _shared(self, there: Folder | Leaf | Memo | None, content: Outline) -> Pool | None:
        """Put *content* into the pool of the file that has its place, where both may be the same bytes."""
        if isinstance(there, Leaf) and there.pool is not None:
            full = content.full
            if there.pool.shares_digest(full) and there.pool.accepts(full):
                there.pool.join(full)
                return there.pool
        return None

    def _displace(self, folder: Folder, leaf: Leaf, document: Document) -> None:
        stray = self._strays.setdefault((folder, leaf.name, leaf.pool), leaf)
        if stray is leaf:
            self._displaced.append((leaf, document.path))
            self._leaves.append(leaf)
        else:
            stray.absorb(leaf)

    def _enter(self, folder: Folder, name: str) -> Folder:
        there = folder.children.get(name)
        known = there if isinstance(there, Folder) else folder.aside.get(name)
        if known is not None:
            return known
        new = Folder(folder, name)
        self.folders.append(new)
        if there is None:
            folder.children[name] = new
        else:
            folder.aside[name] = new
            self._displaced.append((new, ""))
        return new

    def _await_size(self, folder: Folder, leaf: Leaf) -> None:
        key = size_key(leaf.entry)
        if (folder, leaf.name, key) not in self._awaited:
            self._awaited.add((folder, leaf.name, key))
            reason, expected = _expected(leaf.entry, self._pending.get(key))
            memo = Memo(b"", leaf.mtime_ns, "resolving", reason, expected, leaf.descriptor, not leaf.entry.named)
            self._memos.append((folder, leaf.name, ".resolving", memo))

    def _refuse(self, folder: Folder, document: Document, problem: DescriptorError) -> None:
        name = clean(document.name)
        text = f"{name} can't be used ({problem.kind}): {problem}\n".encode("utf-8", "backslashreplace")
        memo = Memo(text, document.mtime_ns, "error", str(problem), descriptor=document.path)
        self._memos.append((folder, name, ".error", memo))

    def name_displaced(self) -> None:
        """Give what lost its name another one."""
        for loser, document in self._displaced:
            folder, wanted = loser.parent, loser.name
            assert folder is not None  # noqa: S101  # only the root has none
            loser.name = self._free_name(folder, wanted, folder_name=isinstance(loser, Folder))
            folder.children[loser.name] = loser
            place = "/".join((*folder.names(), loser.name))
            if isinstance(loser, Leaf):
                text = f"another file has this name; that of {document} is called {place}"
                caution = Caution("renamed", text, str(loser.entry.path))
                loser.cautions += (caution,)
            else:
                caution = Caution("renamed", f"a file has the name {wanted}, so the folder is shown as {place}")
            self.cautions.append(caution)

    def _free_name(self, folder: Folder, name: str, *, folder_name: bool) -> str:
        number = self._numbers.get((folder, name), 2)
        while (candidate := numbered(name, number, folder=folder_name)) in folder.children:
            number += 1
        self._numbers[folder, name] = number + 1
        return candidate

    def add_signatures(self) -> None:
        """Put each file's signature beside it where that name is free."""
        for leaf in self._leaves:
            signature, folder = leaf.signature, leaf.parent
            if signature is None or folder is None:
                continue
            own = leaf.entry.path.name
            named_after = signature.name.startswith(own)
            name = fit(leaf.name, signature.name[len(own) :]) if named_after else signature.name
            if name not in folder.children and shown_parts("", PurePosixPath(name), alone=False) == (name,):
                text = signature.text.encode("utf-8", "backslashreplace")
                folder.children[name] = Memo(text, leaf.mtime_ns, "complete")

    def add_memos(self) -> None:
        """Put `.error` and `.resolving` notes where their names are free."""
        for folder, base, tail, memo in self._memos:
            name = fit(base, tail)
            if name in folder.children:
                name = self._free_name(folder, name, folder_name=False)
            folder.children[name] = memo

    def _caution(self, code: str, message: str, entry: Entry) -> None:
        self.cautions.append(Caution(code, message, str(entry.path)))


def _reasons(cautions: Sequence[Caution]) -> str:
    """Return what *cautions* say, as one phrase: the first of them, and how many more there are."""
    told = [f"{each.file}: {each.message}" if each.file else each.message for each in cautions[:MOST_REASONS]]
    more = len(cautions) - MOST_REASONS
    return "; ".join([*told, f"and {more} more"] if more > 0 else told)


def _expected(entry: Entry, pending: Pending | None) -> tuple[str, Expected]:
    """Return why the size of *entry* is not known, and what may tell it."""
    if not entry.mirrors:
        if pending is None:
            return "peers are being asked what is in it", Expected.PEERS
        return pending.reason, Expected.NOTHING if pending.hopeless else Expected.PEERS
    if pending is None:
        return "its mirrors are being asked how long it is", Expected.SERVERS
    return pending.reason, Expected.BYTES if pending.coming else Expected.NOTHING
