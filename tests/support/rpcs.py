"""A board of the RPC over a tree that a test makes and an engine that only tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import cast

from mountdl.catalog.build import Built, build
from mountdl.catalog.document import Document
from mountdl.catalog.tree import File, Inodes, Tree
from mountdl.catalog.watch import Watch
from mountdl.content import Content, ContentKey, Outline
from mountdl.control.rpc.board import Board
from mountdl.control.rpc.drop import Drop
from mountdl.descriptors import parse
from mountdl.descriptors.learned import Learned, Pending
from mountdl.descriptors.model import Descriptor
from mountdl.engine.engine import Engine
from mountdl.engine.status import DownloadStatus
from mountdl.errors import ContentUnavailable, DescriptorError
from mountdl.extents import Extent, ExtentSet
from mountdl.settings import MountSettings, RpcSettings, Settings, StoreSettings

MOUNT = Path("/mnt/here")
DIGEST = "ab" * 32


def metalink(name: str, size: int = 1000, number: int = 0, url: str = "http://user:pw@m.example/f?k=1") -> bytes:
    """Return a metalink of one file, whose digest is made of *number*."""
    return (
        '<metalink xmlns="urn:ietf:params:xml:ns:metalink">'
        f'<file name="{name}"><size>{size}</size><hash type="sha-256">{number:064x}</hash><url>{url}</url></file>'
        "</metalink>"
    ).encode()


@dataclass
class FakeEngine:
    """Says of contents what a test put into `told`; what is asked of it stands in `did`."""

    told: dict[ContentKey, DownloadStatus] = field(default_factory=dict)
    running: set[ContentKey] = field(default_factory=set)
    stopped: set[ContentKey] = field(default_factory=set)
    did: list[object] = field(default_factory=list)
    looks: int = 0
    fails: bool = False

    def status(self, content: Outline, *, brief: bool = False) -> DownloadStatus:
        self.looks += 1
        idle = DownloadStatus(content.size, 0, 0, "idle", 0.0, 0, (), None)
        return self.told.get(content.key, idle)

    def active(self) -> tuple[ContentKey, ...]:
        return tuple(self.running)

    def paused(self, content: Outline) -> bool:
        return content.key in self.stopped

    def pause(self, content: Outline, *, on: bool) -> None:
        (self.stopped.add if on else self.stopped.discard)(content.key)

    def prefetch(self, content: Content, extent: Extent) -> None:
        if self.fails:
            raise ContentUnavailable("no")
        self.did.append(("prefetch", content.key, extent))

    def download(self, content: Content) -> SimpleNamespace:
        if self.fails:
            raise ContentUnavailable("no")
        self.running.add(content.key)
        self.did.append(("download", content.key))
        return SimpleNamespace(want=lambda extent: ("want", extent), unwant=self.did.append)

    def present(self, content: Outline) -> ExtentSet | None:
        return None

    def evicted(self, key: ContentKey) -> bool:
        return False

    def limit(self, each: float | None, overall: float | None) -> None:
        self.did.append(("limit", each, overall))

    def limit_one(self, key: ContentKey, rate: float) -> None:
        self.did.append(("limit", rate))

    def becomes(self, outline: Outline, state: str, done: int = 0, rate: float = 0.0) -> None:
        """Have the content of *outline* be in *state* from now on, with *done* bytes."""
        self.told[outline.key] = DownloadStatus(outline.size, done, done, state, rate, 0, (), None)
        (self.running.add if state in {"active", "waiting"} else self.running.discard)(outline.key)


class Desk:
    """A board over descriptors of a folder, which `show` reads anew: *source* on disk, or only *documents*."""

    def __init__(self, source: Path | None = None, **settings: object) -> None:
        self.source = source
        self.engine = FakeEngine()
        self._inodes = Inodes()
        self._watch = SimpleNamespace(built=Built(build([], self._inodes, {}).tree))
        mount = MountSettings(str(source or "/descriptors"), MOUNT)
        rpc = RpcSettings(enabled=True, **settings)  # type: ignore[arg-type]
        self.settings = replace(Settings(mount, StoreSettings(Path("/cache"))), rpc=rpc)
        drop = None if source is None else Drop(source)
        self.board = Board(
            self.settings, cast("Watch", self._watch), cast("Engine", self.engine), drop, "nothing can be added here"
        )

    def show(
        self, documents: dict[str, bytes] | None = None, *, failing: str | None = None, called: str | None = None
    ) -> None:
        """Show what *documents*, or the descriptors in the folder, say now. Sizes that none says are asked for in vain.

        *failing* is why. With *called* servers tell sizes, and that their files are called that.
        """
        if documents is None:
            assert self.source is not None
            documents = {p.name: p.read_bytes() for p in sorted(self.source.iterdir()) if p.name[0] != "."}
        made = [Document(name, 0, _said(name, data)) for name, data in documents.items()]
        built = build(made, self._inodes, {})
        if failing is not None:
            built = build(made, self._inodes, {}, pending=dict.fromkeys(built.unresolved, Pending(failing)))
        if called is not None:
            built = build(made, self._inodes, {key: Learned(1000, name=called) for key in built.unresolved})
        self._watch.built = built

    def outline(self, path: str) -> Outline:
        """Return what the file at *path* shows."""
        found = cast("Tree", self._watch.built.tree).find(PurePosixPath(path))
        assert isinstance(found, File)
        return found.outline

    def shows(self) -> Sequence[str]:
        """Return the names in the mount's top."""
        return list(self._watch.built.tree.root.children)


def _said(name: str, data: bytes) -> Descriptor | DescriptorError:
    try:
        return parse(name, data)
    except DescriptorError as error:
        return error
