"""`mountdl cache export` and `adopt`: finished files out of the store, local bytes into it.

Law: what goes out is finished, in the eyes of its mount or on record; of what comes in a chunk counts only when it
matched.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from mountdl.content import Content, ContentKey, Level, content_of, digest_of
from mountdl.control import client, text
from mountdl.control.cache import chosen, opened
from mountdl.control.create_progress import Progress
from mountdl.control.handing_out import STEP, handed_out, there
from mountdl.control.inspect import document
from mountdl.control.registry import Registry
from mountdl.control.text import shown
from mountdl.descriptors import SUFFIXES, parse
from mountdl.descriptors.model import Entry
from mountdl.errors import ExitStatus, MountdlError, UsageError
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import WholeCheck
from mountdl.store import Store, Stored
from mountdl.store.manifest import Header
from mountdl.store.place import DATA, Place
from mountdl.store.standing import Standing, standing
from mountdl.store.store import CHECKPOINT_INTERVAL

RECORDED = 4 * CHECKPOINT_INTERVAL
"""Seconds within which a store that works has on record what is complete."""
_LOOK = 0.1
PARTIAL = (".part", ".!qB", ".aria2", ".crdownload", ".partial")
"""What other programs add to the names of files that are not complete."""


def export(directory: Path, word: str, out: Path, registry: Registry) -> None:
    """Hand the finished file *word* out as *out*, by reflink where the file system can, else as a copy."""
    with opened(directory) as store:
        [key] = chosen(store, [word], registry)
        size = _recorded(store, key, word, registry)
        target = out / Path(word).name if out.is_dir() else out
        if os.path.lexists(target):
            raise there(target)
        with Progress(size) as progress:
            progress.start(target.name)
            how = handed_out(Place(directory / "contents", key), digest_of(key), target, progress.add)
    if how is None:
        raise UsageError(f"{shown(word)} is not complete any more: it had to make room; mountdl cache pin keeps it")
    print(f"{shown(target)}: {text.size(size)}, {how}")


def _recorded(store: Store, key: ContentKey, word: str, registry: Registry) -> int:
    """Return the size of the finished content *key*. UsageError when it is not finished.

    What its mount calls complete is on record at once, or, where nothing can verify it, within seconds.
    """
    complete = _called_complete(word, registry)
    if complete and key not in store.keys():  # noqa: SIM118  # a method of ours
        raise UsageError(f"{shown(word)} is in another cache than {shown(store.directory)}: name it with --cache-dir")
    until = time.monotonic() + (RECORDED if complete else 0.0)
    while True:
        header = store.recorded(key)
        if header is not None and header.written == header.size and _judged(key, header):
            return header.size
        found = _standing(Place(store.directory / "contents", key)) if complete else None
        if found is not None:
            return found.size
        if time.monotonic() >= until:
            raise UsageError(f"{shown(word)} is not complete in the cache; mountdl wait FILE waits until it is")
        time.sleep(_LOOK)


def _standing(place: Place) -> Standing | None:
    try:
        fd = place.open(DATA, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return standing(place, fd)
    finally:
        os.close(fd)


def _judged(key: ContentKey, header: Header) -> bool:
    """Say whether no chunk of *key* waits for its verdict; only a mount knows of ends that files share."""
    parts = header.fingerprint.split("/")
    shared = "+" in parts[-1] and not parts[-1].endswith("+0")
    return digest_of(key) is not None or parts[0] == "none" or shared or header.verified == header.size


def _called_complete(word: str, registry: Registry) -> bool:
    with suppress(MountdlError):
        entry, inside = client.locate_file(Path(word), registry)
        files = client.ask(entry, {"verb": "status", "path": inside}).get("files")
        return isinstance(files, list) and [each.get("state") for each in files] == ["complete"]
    return False


# -- adopt --------------------------------------------------------------------------------------------------------


def adopt(directory: Path, files: Sequence[Path], descriptors: Sequence[Path], *, as_json: bool) -> None:
    """Take what *files* hold of what *descriptors* describe; without any, of descriptors beside the files."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = []
    with Progress(sum(file.stat().st_size for file in files if file.is_file())) as progress:
        store = Store(directory)
        try:
            for file in files:
                progress.start(file.name)
                content = _described(file, descriptors)
                before, after = _adopted(store, file, content, progress)
                told.append({"file": str(file), "key": content.key, "size": content.size, "here": after,
                             "adopted": after - before})  # fmt: skip
        finally:
            store.close()
    if as_json:
        print(json.dumps({"files": told}, indent=2))
        return
    for each in told:
        adopted, whole = (text.size(int(str(each[name]))) for name in ("adopted", "size"))
        print(f"{shown(each['file'])}: {adopted} adopted of {whole}")


def _described(file: Path, descriptors: Sequence[Path]) -> Content:
    """Return the content that *file* is, or is part of."""
    if not file.is_file():
        raise UsageError(f"{shown(file)} is not a file", ExitStatus.NOT_FOUND)
    name = _plain(file.name)
    beside = [file.with_name(each + suffix) for each in (name, Path(name).stem) for suffix in SUFFIXES]
    for path in descriptors or [path for path in beside if path.is_file()]:
        entries = [entry for entry in _entries(path) if entry.size is not None]
        named = [entry for entry in entries if entry.path.name == name]
        sized = [entry for entry in entries if entry.size == file.stat().st_size]
        for entry in (*named, *(sized if len(sized) == 1 else ())):
            return content_of(entry, entry.size or 0)
    raise UsageError(f"no descriptor tells what {shown(file)} is; name one with --descriptor", ExitStatus.NOT_FOUND)


def _entries(path: Path) -> Iterator[Entry]:
    try:
        yield from parse(path.name, document(str(path))).entries
    except MountdlError as error:
        raise UsageError(f"{shown(path)}: {error}", error.exit_status) from error


def _plain(name: str) -> str:
    """Return the name that the finished file will have."""
    found = next((suffix for suffix in PARTIAL if name.endswith(suffix)), "")
    return name[: len(name) - len(found)]


def _adopted(store: Store, file: Path, content: Content, progress: Progress) -> tuple[int, int]:
    stored = store.open(content.key, content.size, content.chunk_map.fingerprint)
    try:
        before = stored.verified.total
        with file.open("rb", buffering=0) as source:
            if content.level is Level.CHUNK:
                _by_chunks(stored, source.fileno(), content, progress)
            else:
                _whole(stored, source.fileno(), content, file, progress)
        return before, stored.verified.total
    finally:
        stored.close()


def _by_chunks(stored: Stored, fd: int, content: Content, progress: Progress) -> None:
    chunks = content.chunk_map
    for index in range(chunks.count):
        extent = chunks.extent(index)
        data = b"" if stored.verified.covers(extent) else os.pread(fd, extent.length, extent.start)
        if len(data) == extent.length and chunks.judged(index) == extent and chunks.matches(index, data):
            _take(stored, extent, data)
        progress.add(extent.length)


def _whole(stored: Stored, fd: int, content: Content, file: Path, progress: Progress) -> None:
    """Take a finished file whose digest is right."""
    if content.digest is None:
        raise UsageError(f"no digest can tell whether {shown(file)} is right", ExitStatus.CHECKSUM)
    check = WholeCheck(content.digest, content.size)
    for start in range(0, content.size, STEP):
        data = os.pread(fd, min(STEP, content.size - start), start)
        check.update(data)
        progress.add(len(data))
    if not check.verified:
        why = "only its whole digest is known, so that a part of it is of no use"
        raise UsageError(f"{shown(file)} is not what its descriptor says; {why}", ExitStatus.CHECKSUM)
    for start in range(0, content.size, STEP):
        extent = Extent(start, start + STEP).clip(content.size)
        stored.write(start, os.pread(fd, extent.length, start))
    # Once more, of what was taken: the file may have changed meanwhile.
    again = WholeCheck(content.digest, content.size)
    stored.hash_extent(Extent(0, content.size), again)
    if again.verified:
        stored.mark_verified(Extent(0, content.size))
    else:
        stored.discard(Extent(0, content.size))


def _take(stored: Stored, extent: Extent, data: bytes) -> None:
    if any(ExtentSet(stored.there).overlap(extent)):
        stored.discard(extent)  # what is there is not known to be right, this is
    stored.write(extent.start, data)
    stored.mark_verified(extent)
