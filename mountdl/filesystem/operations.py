"""A protocol adapter only: the kernel's requests in, the catalog's tree and the engine's readers out.

It never sees a source, an extent set or a digest's value. Handlers never spawn tasks.
"""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import cast
from weakref import WeakValueDictionary

import pyfuse3
import trio
from pyfuse3 import FileHandleT, FileInfo, FileNameT, FlagT, FUSEError, InodeT, ModeT, RequestContext, XAttrNameT

from mountdl.catalog.tree import NAME_MAX, Directory, File, Inode, Node, Note, Tree
from mountdl.engine.reader import Reader
from mountdl.errors import ContentUnavailable
from mountdl.extents import Extent
from mountdl.filesystem.attributes import PREFIX, entry_attributes, file_xattrs, note_xattrs
from mountdl.filesystem.echoes import Echoes
from mountdl.filesystem.files import Files
from mountdl.filesystem.orphans import holders, orphaned
from mountdl.filesystem.replies import answering

LOOK = 0.5
"""Seconds between two looks whether readers that wait were killed; one takes 8 ms for 100 processes, in a thread."""


@dataclass(slots=True, eq=False)
class Handle:
    """An open file: its node, its reader and the thread that opened it; *pending* are its reads under way.

    *echoes* are those of all who have the file open.
    """

    node: File | Note
    reader: Reader | None
    opener: int
    echoes: Echoes
    pending: set[trio.CancelScope] = field(default_factory=set)


class Operations(pyfuse3.Operations):
    """The mount. *files* is what it asks about files."""

    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, tree: Tree, files: Files) -> None:
        super().__init__()
        self._tree, self._files = tree, files
        self._numbers, self._latest = count(1), 0
        self._ended = False
        self._handles: dict[int, Handle] = {}
        self._echoes: WeakValueDictionary[Inode, Echoes] = WeakValueDictionary()
        self._listings: dict[int, list[Node]] = {}
        # Nodes that the tree no longer has but the kernel still knows, and how often it knows each inode.
        self._retired: dict[Inode, Node] = {}
        self._known: dict[Inode, int] = {}
        self._told: set[Inode] = set()

    def publish(self, tree: Tree) -> None:
        """Show *tree* from now on; open handles keep what they have."""
        for inode in self._known:
            node = self._tree.node(inode)
            if node is not None and tree.node(inode) is None:
                self._retired[inode] = node
        self._tree = tree

    def gone(self, most: int) -> list[tuple[Inode, bytes]]:
        """Return folder and name of up to *most* nodes that the kernel keeps and no tree has, none twice, none open.

        It forgets a name that is not there any more only when somebody asks for it, or when memory is short.
        """
        used = {handle.node.inode for handle in self._handles.values()}
        due = (node for inode, node in self._retired.items() if inode not in self._told and inode not in used)
        found = list(islice(due, most))
        self._told.update(node.inode for node in found)
        return [(node.parent, os.fsencode(node.name)) for node in found]

    def node(self, inode: int) -> Node:
        """Return the node of *inode*. FUSEError(ESTALE) when there never was one or it is forgotten."""
        node = self._tree.node(Inode(inode)) or self._retired.get(Inode(inode))
        if node is None:
            raise FUSEError(errno.ESTALE)
        return node

    def _attributes(self, node: Node) -> pyfuse3.EntryAttributes:
        return entry_attributes(node, self._files.blocks(node.outline) if isinstance(node, File) else 0)

    # -- names and attributes -------------------------------------------------------------------------------

    @answering
    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> pyfuse3.EntryAttributes:
        parent = self.node(parent_inode)
        if name == b".":
            found: Node | None = parent
        elif name == b"..":
            found = self.node(parent.parent)
        elif len(name) > NAME_MAX:
            raise FUSEError(errno.ENAMETOOLONG)  # the kernel itself objects from 1024 bytes on
        else:
            found = self._tree.child(Inode(parent_inode), os.fsdecode(name))
        if found is None:
            raise FUSEError(errno.ENOENT)
        if isinstance(found, File):
            self._files.warm(found.outline)
        self._known[found.inode] = self._known.get(found.inode, 0) + 1
        return self._attributes(found)

    @answering
    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        for number, times in inode_list:
            inode = Inode(number)
            left = self._known.get(inode, 0) - times
            if left > 0:
                self._known[inode] = left
            else:
                self._known.pop(inode, None)
                self._retired.pop(inode, None)
                self._told.discard(inode)

    @answering
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> pyfuse3.EntryAttributes:
        return self._attributes(self.node(inode))

    @answering
    async def access(self, inode: InodeT, mode: ModeT, ctx: RequestContext) -> bool:
        node = self.node(inode)
        if mode & os.W_OK:
            raise FUSEError(errno.EROFS)
        return isinstance(node, Directory) or not mode & os.X_OK

    @answering
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        space = self._files.space()
        reply = pyfuse3.StatvfsData()
        reply.f_bsize = reply.f_frsize = 4096
        reply.f_blocks = -(-self._tree.bytes // 4096)
        # What is not on disk yet is what can still arrive, as far as the disk of the store has room.
        missing = max(0, self._tree.bytes - await self._files.stored(self._tree))
        reply.f_bfree = min(-(-missing // 4096), space // 4096)
        reply.f_bavail = reply.f_bfree
        reply.f_files = self._tree.files
        reply.f_ffree = reply.f_favail = 0
        reply.f_namemax = NAME_MAX
        return reply

    # -- directories ----------------------------------------------------------------------------------------

    @answering
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        node = self.node(inode)
        if not isinstance(node, Directory):
            raise FUSEError(errno.ENOTDIR)
        number = self._latest = next(self._numbers)
        tree = self._tree
        children = [tree.node(child) for child in node.children.values()]
        self._listings[number] = [child for child in children if child is not None]
        return FileHandleT(number)

    @answering
    async def readdir(self, fh: FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        listing = self._listings[fh]
        for place in range(start_id, len(listing)):
            node = listing[place]
            name = FileNameT(os.fsencode(node.name))
            if not pyfuse3.readdir_reply(token, name, self._attributes(node), place + 1):
                return
            self._known[node.inode] = self._known.get(node.inode, 0) + 1
            if self._tree.node(node.inode) is None:
                self._retired[node.inode] = node

    @answering
    async def releasedir(self, fh: FileHandleT) -> None:
        self._listings.pop(fh, None)

    # -- files ----------------------------------------------------------------------------------------------

    @answering
    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC):
            raise FUSEError(errno.EROFS)
        node = self.node(inode)
        if isinstance(node, Directory):
            raise FUSEError(errno.EISDIR)
        reader = self._files.open(node.outline) if isinstance(node, File) else None
        number = self._latest = next(self._numbers)
        self._handles[number] = Handle(node, reader, ctx.pid, self._echoes.setdefault(node.inode, Echoes()))
        # An inode's bytes never change (another content is another inode), so the kernel may keep its pages.
        return FileInfo(fh=FileHandleT(number), keep_cache=True)

    @answering
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        handle = self._handles[fh]
        if isinstance(handle.node, Note) or handle.reader is None:
            return handle.node.text[off : off + size] if isinstance(handle.node, Note) else b""
        extent = Extent(off, off + size)
        ready = handle.reader.ready(extent)
        if ready is not None:
            return cast("bytes", ready)  # pyfuse3 takes any buffer, whatever its annotation says
        echo = handle.echoes.take(extent, trio.current_time(), fh)
        if echo is not None:
            raise echo
        if self._ended:
            raise FUSEError(errno.EIO)
        scope = trio.CancelScope()
        handle.pending.add(scope)
        try:
            with scope:
                return cast("bytes", await handle.reader.read(extent))
        except ContentUnavailable as error:
            handle.echoes.add(extent, trio.current_time(), error, self._latest)
            raise
        finally:
            handle.pending.discard(scope)
        raise FUSEError(errno.EIO if self._ended else errno.EINTR)

    @answering
    async def flush(self, fh: FileHandleT) -> None:
        handle = self._handles.get(fh)
        if handle is not None and handle.pending and isinstance(handle.node, File):
            await self._free(handle.node)

    def end_reads(self) -> None:
        """Answer with EIO all reads that wait, and from now on those that would have to."""
        self._ended = True
        for handle in self._handles.values():
            for scope in handle.pending:
                scope.cancel()

    async def free_killed(self) -> None:
        """Let go of reads whose readers were killed, until cancelled."""
        while True:
            before = {scope for handle in self._handles.values() for scope in handle.pending}
            await trio.sleep(LOOK)
            late = {h.node.inode: h.node for h in self._handles.values() if not before.isdisjoint(h.pending)}
            for node in late.values():
                if isinstance(node, File):
                    await self._free(node)

    async def _free(self, node: File) -> None:
        """Cancel the reads of *node* that nobody can wait for any more."""
        handles = [handle for handle in self._handles.values() if handle.node.inode == node.inode]
        pending = [set(handle.pending) for handle in handles]
        openers = frozenset(handle.opener for handle in handles)
        found = await trio.to_thread.run_sync(holders, node.name, openers)
        if found is None:
            return
        for handle, scopes in zip(handles, pending, strict=True):
            others = frozenset(other.opener for other in handles if other is not handle)
            if orphaned(handle.opener, others, found):
                for scope in scopes & handle.pending:
                    scope.cancel()

    @answering
    async def release(self, fh: FileHandleT) -> None:
        handle = self._handles.pop(fh, None)
        if handle is not None and handle.reader is not None:
            handle.reader.close()

    # -- extended attributes --------------------------------------------------------------------------------

    def _xattrs(self, inode: int) -> dict[bytes, bytes]:
        node = self.node(inode)
        if isinstance(node, Note):
            return note_xattrs(node.state, node.reason)
        if isinstance(node, Directory):
            return {}
        cautions = "; ".join(caution.message for caution in node.cautions)
        values = file_xattrs(node.content, self._files.status(node.outline), cautions)
        switches = {b"pin": self._files.pinned(node.outline), b"pause": self._files.paused(node.outline)}
        return {**values, **{name: b"%d" % on for name, on in switches.items()}}

    @answering
    async def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:
        if not name.startswith(PREFIX):
            raise FUSEError(pyfuse3.ENOATTR)
        value = self._xattrs(inode).get(name[len(PREFIX) :])
        if value is None:
            raise FUSEError(pyfuse3.ENOATTR)
        return value

    @answering
    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:
        return [XAttrNameT(PREFIX + name) for name in self._xattrs(inode)]

    @answering
    async def setxattr(self, inode: InodeT, name: XAttrNameT, value: bytes, ctx: RequestContext) -> None:
        node = self.node(inode)
        if not isinstance(node, File) or name not in {PREFIX + verb for verb in (b"prefetch", b"pin", b"pause")}:
            raise FUSEError(errno.EROFS)
        if ctx.uid not in {0, os.getuid()}:
            raise FUSEError(errno.EPERM)
        if name == PREFIX + b"prefetch":
            self._files.prefetch(node.content, _extent(value, node.size))
        elif name == PREFIX + b"pin":
            self._files.pin(node.outline, on=_switch(value))
        else:
            self._files.pause(node.outline, on=_switch(value))

    # -- what a read-only file system refuses ---------------------------------------------------------------

    @answering
    async def _refuse(self, *_: object) -> None:
        raise FUSEError(errno.EROFS)


def _switch(value: bytes) -> bool:
    """Read `1` or `0`. FUSEError(EINVAL) for anything else."""
    if value.strip() not in {b"0", b"1"}:
        raise FUSEError(errno.EINVAL)
    return value.strip() == b"1"


def _extent(value: bytes, size: int) -> Extent:
    """Read `START-STOP` or `all`. FUSEError(EINVAL) for anything else."""
    text = value.strip().decode("ascii", "replace")
    if text == "all":
        return Extent(0, size)
    start, dash, stop = text.partition("-")
    if not (dash and start.isdecimal() and stop.isdecimal() and len(text) < 40 and int(start) < int(stop)):
        raise FUSEError(errno.EINVAL)
    return Extent(int(start), int(stop)).clip(size)


for _name in (
    "setattr", "mknod", "mkdir", "unlink", "rmdir", "symlink", "rename", "link", "write", "create", "removexattr"
):  # fmt: skip
    setattr(Operations, _name, Operations._refuse)  # noqa: SLF001
