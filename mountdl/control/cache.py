"""`mountdl cache`: what is in the store, and what becomes of it.

Law: safe beside running mounts: what one of them has open is left alone and told as busy, never waited for. Works on
the store's own terms; which names contents have is asked of the mounts that run.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mountdl.content import ContentKey, digest_of
from mountdl.control import client, text
from mountdl.control.create_progress import Progress
from mountdl.control.messages import Json
from mountdl.control.registry import Registry
from mountdl.control.status import FileLine
from mountdl.control.text import shown
from mountdl.errors import ExitStatus, MountdlError, StoreBusy, StoreDamaged, StoreError, UsageError
from mountdl.extents import Extent
from mountdl.integrity import WholeCheck
from mountdl.sources.swarm.kept import collect, folder_of
from mountdl.store import Store, Stored, manifest
from mountdl.store.census import Resting
from mountdl.store.place import is_key

STEP = 4 << 20
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Kept:
    """One content of the store, as it is listed."""

    key: ContentKey
    size: int | None
    written: int
    verified: int
    rest: Resting
    names: tuple[str, ...]

    def document(self) -> Json:
        """Return it for programs."""
        return {
            "key": self.key, "size": self.size, "written": self.written, "verified": self.verified,
            "disk": self.rest.taken, "used_at": self.rest.used_at, "pinned": self.rest.pinned,
            "names": list(self.names),
        }  # fmt: skip

    def row(self) -> list[str]:
        """Return it for people."""
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.rest.used_at))
        part = "?" if self.size is None else text.percent(self.written, self.size)
        name = shown(self.names[0]) if self.names else text.short(self.key, 48)
        whole = "?" if self.size is None else text.size(self.size)
        return [part, whole, text.size(self.rest.taken), used, "pinned" if self.rest.pinned else "", name]


@contextmanager
def opened(directory: Path) -> Iterator[Store]:
    """Open the store in *directory*, which must be there."""
    if not (directory / "contents").is_dir():
        raise UsageError(f"there is no cache in {shown(directory)}; name it with --cache-dir", ExitStatus.NOT_FOUND)
    store = Store(directory)
    store.unnoticed()
    try:
        yield store
    finally:
        store.close()


def names(registry: Registry) -> dict[str, tuple[str, ...]]:
    """Return the files that running mounts show, by content key. A mount that does not answer shows none."""
    return {key: tuple(each.path for each in files) for key, files in _seen(registry).items()}


class _Seen(NamedTuple):
    """A *file* that a running mount shows at *path*; what is here of it lies in the *cache*."""

    path: str
    cache: str
    file: FileLine


def _seen(registry: Registry) -> dict[str, list[_Seen]]:
    """Return the files that running mounts show, by content key."""
    found: dict[str, list[_Seen]] = {}
    for entry in registry.alive():
        with suppress(MountdlError):
            told = client.ask(entry, {"verb": "status", "path": None, "brief": True})
            files = told.get("files")
            for file in files if isinstance(files, list) else []:
                if isinstance(file, dict) and isinstance(file.get("key"), str):
                    line = FileLine.of(file)
                    seen = _Seen(f"{told.get('mountpoint')}/{line.path}", str(told.get("cache")), line)
                    found.setdefault(file["key"], []).append(seen)
    return found


def kept(store: Store, registry: Registry) -> list[Kept]:
    """Return the contents of *store*, what was used last at the end."""
    seen = _seen(registry)
    found = []
    for key, rest in store.census().items():
        files = seen.get(key, [])
        # What a mount has open since a moment ago is not on record yet, and it alone knows of it. One with another
        # cache shows the same and has none of it.
        mine = (each.file for each in files if _same(each.cache, store.directory))
        known: manifest.Header | FileLine | None = store.recorded(key) or next(mine, None)
        size, written, verified = (None, 0, 0) if known is None else (known.size, known.written, known.verified)
        paths = tuple(each.path for each in files)
        found.append(Kept(key, size, written, verified, rest, paths))
    return sorted(found, key=lambda each: (each.rest.used_at, each.key))


def _same(one: str, other: Path) -> bool:
    with suppress(OSError):
        return os.path.samefile(one, other)  # noqa: PTH121  # paths as text
    return False


def listing(directory: Path, registry: Registry, *, as_json: bool) -> None:
    """Print what is in the store."""
    with opened(directory) as store:
        found = kept(store, registry)
    if as_json:
        print(json.dumps({"directory": str(directory), "contents": [each.document() for each in found]}, indent=2))
        return
    sys.stdout.writelines(f"{line}\n" for line in text.table([each.row() for each in found], frozenset({0, 1, 2})))
    taken = text.size(sum(each.rest.taken for each in found))
    print(f"{text.counted(len(found), 'content')}, {taken} in {shown(directory)}")


def store_of(word: str, registry: Registry) -> Path | None:
    """Return the store of the running mount that *word* is a file in; None where it is none. UsageError: it is dead."""
    try:
        entry, inside = client.locate_file(Path(word), registry)
        told = client.ask(entry, {"verb": "status", "path": inside, "brief": True}).get("cache")
    except UsageError as error:
        if error.exit_status is ExitStatus.NOT_FOUND:
            return None
        raise
    return Path(told) if isinstance(told, str) else None


def chosen(store: Store, words: Sequence[str], registry: Registry) -> list[ContentKey]:
    """Return the contents that *words* name: files in a mount, keys, or beginnings of keys."""
    return [_chosen(store, word, registry) for word in words]


def _chosen(store: Store, word: str, registry: Registry) -> ContentKey:
    if os.sep not in word and is_key(word):
        found = sorted(key for key in store.keys() if key.startswith(word))  # noqa: SIM118  # a method of ours
        if word in found or len(found) == 1:
            return ContentKey(word if word in found else found[0])
        if found:
            raise UsageError(f"{shown(word)} may be any of {len(found)} contents; write more of the key")
        if not Path(word).exists():
            raise UsageError(f"{shown(word)} is neither a file in a mount nor in the cache", ExitStatus.NOT_FOUND)
    entry, inside = client.locate_file(Path(word), registry)
    told = client.ask(entry, {"verb": "status", "path": inside})
    files = told.get("files")
    key = files[0].get("key") if isinstance(files, list) and files and isinstance(files[0], dict) else None
    if not isinstance(key, str) or not is_key(key):
        raise UsageError(f"{shown(word)} has no bytes that could be in the cache")
    return ContentKey(key)


def pin(directory: Path, words: Sequence[str], registry: Registry, *, on: bool) -> None:
    """Keep contents, or no longer."""
    with opened(directory) as store:
        for key in chosen(store, words, registry):
            store.pin(key, on=on)


# -- prune --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pruning:
    """What to drop: until *size* bytes are left, what was not used for *age* days, or *words*; pins only by name."""

    size: int | None = None
    age: float | None = None
    words: tuple[str, ...] = ()


def prune(directory: Path, order: Pruning, registry: Registry, *, as_json: bool) -> None:
    """Drop what *order* says. What is open in a mount stays, and is told."""
    if order.size is None and order.age is None and not order.words:
        raise UsageError("say what to drop: --size SIZE, --age DAYS, or contents")
    with opened(directory) as store:
        before = sum(each.taken for each in store.census().values())
        busy = _removed(store, order, registry)
        freed = 0 if order.age is None else _forgotten(directory, order.age)
        if order.size is not None:
            store.shrink(order.size)
        store.close()
        after = sum(each.taken for each in store.census().values())
    freed += max(0, before - after)
    if as_json:
        print(json.dumps({"freed": freed, "left": after, "busy": busy}, indent=2))
        return
    called = names(registry) if busy else {}
    for key in busy:
        print(f"{_called(key, called)} is open in a mount and stays")
    stays = ", pinned or open in a mount" if order.size is not None and after > order.size else ""
    print(f"{text.size(freed)} freed, {text.size(after)} left{stays}")


def _forgotten(directory: Path, age: float) -> int:
    """Remove what magnets led to and nobody used for *age* days, a day at least; return its bytes on disk."""
    now = time.time()
    return collect(folder_of(directory), now - age * _DAY, None, now)


def _removed(store: Store, order: Pruning, registry: Registry) -> list[str]:
    wanted = chosen(store, order.words, registry)
    if order.age is not None:
        before = time.time() - order.age * _DAY
        wanted += [key for key, rest in store.census().items() if rest.used_at < before and not rest.pinned]
    busy: list[str] = []
    for key in dict.fromkeys(wanted):
        try:
            store.remove(key)
        except StoreBusy:
            busy.append(key)
    return busy


# -- verify -------------------------------------------------------------------------------------------------------


def verify(directory: Path, words: Sequence[str], registry: Registry, *, as_json: bool) -> int:
    """Read all that is stored again and drop what is not sound. Returns the exit status: 32 if something was not."""
    with opened(directory) as store:
        keys = chosen(store, words, registry) or sorted(store.keys())
        resting = store.census()
        told = []
        with Progress(sum(resting[key].taken for key in keys if key in resting)) as progress:
            for key in keys:
                progress.start(key)
                told.append(_verified(store, key, progress))
    if as_json:
        print(json.dumps({"contents": told}, indent=2))
    else:
        odd = [each for each in told if each["state"] != "sound"]
        called = names(registry) if odd else {}
        for each in odd:
            state = "open in a mount, not checked" if each["state"] == "busy" else each["state"]
            print(f"{_called(str(each['key']), called)}: {state}{_dropped(each)}")
        busy = f", {_count(told, 'busy')} not checked" if _count(told, "busy") else ""
        print(f"{text.counted(len(told), 'content')}, {_count(told, 'damaged')} damaged{busy}")
    return ExitStatus.CHECKSUM if _count(told, "damaged") else ExitStatus.OK


def _called(key: str, called: Mapping[str, Sequence[str]]) -> str:
    """Return what people know the content *key* as: a file in a mount, else the key."""
    return shown(called[key][0]) if key in called else text.short(key, 60)


def _count(told: Sequence[Json], state: str) -> int:
    return sum(1 for each in told if each["state"] == state)


def _dropped(told: Json) -> str:
    return f", {told['dropped']} bytes dropped" if told["dropped"] else ""


def _verified(store: Store, key: ContentKey, progress: Progress) -> Json:
    told: Json = {"key": key, "state": "sound", "bytes": 0, "dropped": 0}
    try:
        stored = store.reopen(key)
    except StoreBusy:
        return {**told, "state": "busy"}
    except StoreError as error:
        return {**told, "state": "unknown", "error": str(error)}
    try:
        before = stored.written.total
        _compare(stored, progress)
        if stored.written.total == stored.size:
            _judge(stored, key)
        told["bytes"] = before
        told["dropped"] = before - stored.written.total
        told["state"] = "damaged" if told["dropped"] else "sound"
    finally:
        stored.close()
    return told


def _compare(stored: Stored, progress: Progress) -> None:
    for extent in list(stored.there):
        for start in range(extent.start, extent.stop, STEP):
            part = Extent(start, min(start + STEP, extent.stop))
            while True:
                try:
                    stored.read(part)
                    break
                except StoreDamaged:
                    # What is known to be wrong is gone; an error of the disk is not.
                    if stored.there.covers(part):
                        stored.discard(part)
            progress.add(part.length)


def _judge(stored: Stored, key: ContentKey) -> None:
    """Hold a whole content against the digest that its key is made of."""
    digest = digest_of(key)
    if digest is None:
        return
    check = WholeCheck(digest, stored.size)
    stored.hash_extent(Extent(0, stored.size), check)
    if not check.verified:
        stored.discard(Extent(0, stored.size))
