"""`mountdl create`: make a descriptor of local files.

Law: what is written is whole or not there at all, and is what `mountdl inspect` reads back. Files are read
once, in portions, so that memory does not grow with them.
"""

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from mountdl import __version__
from mountdl.control import text
from mountdl.control.create_files import Found, find
from mountdl.control.create_progress import Progress
from mountdl.control.text import shown
from mountdl.descriptors import compose, sums, urls
from mountdl.descriptors.limits import MAX_PIECES, MAX_TORRENT
from mountdl.descriptors.model import LOWEST_PRIORITY, Entry, MirrorRef
from mountdl.digests import librhash
from mountdl.errors import ExitStatus, UsageError, write_status

FORMATS = {"meta4": ".meta4", "metalink3": ".metalink", "magnet": ".magnet", "torrent": ".torrent"}
"""What can be made, and the suffix of each."""

_SUFFIXES = {suffix: name for name, suffix in FORMATS.items()}
_GENERATOR = f"mountdl/{__version__}"
_STEP = 1 << 20
_SEEDS = frozenset({"http", "https", "ftp"})

_WHOLE = {
    "meta4": ("sha-256",),
    "metalink3": ("sha-256", "sha-1", "md5"),
    "magnet": ("sha-256", "sha-1"),
    "torrent": (),
}
# What each kind's readers know: sha-1 is all that torrents of version 1 and most readers of metalink 3 take.
# A magnet link has none itself, only the info-hash of the torrent that they make.
_PIECES = {"meta4": "sha-256", "metalink3": "sha-1", "magnet": "sha-1", "torrent": "sha-1"}
# Only where they cost little: in Python they take a second for four megabytes.
_FAST_TOPICS = ("tth", "ed2k", "aich")


@dataclass(frozen=True, slots=True)
class Order:
    """What to make: *length* is that of pieces in bytes, None for one that fits; *out* None for a name that fits."""

    files: tuple[Path, ...]
    out: str | None = None
    kind: str | None = None
    mirrors: tuple[str, ...] = ()
    length: int | None = None


def run(order: Order) -> None:
    """Make what *order* says. Raises UsageError."""
    kind = _kind(order)
    _check_mirrors(order.mirrors, kind)
    out = _out(order, kind)
    found = find(order.files, out)
    if kind == "torrent" and len(order.files) > 1:
        raise UsageError("a torrent is of one file or of one folder; put the files into a folder")
    if kind == "magnet":
        found = _flat(found)
    with Progress(sum(each.size for each in found)) as progress:
        portions = _torrent(order, found, progress) if kind == "torrent" else _others(order, kind, found, progress)
    if not order.mirrors and kind != "torrent":
        _warn("without --mirror it does not say where the files can be had")
    if out is not None and out.suffix.lower() not in _SUFFIXES:
        _warn(f"a mounted folder does not show what {shown(out.name)} describes: it goes by {', '.join(_SUFFIXES)}")
    _write(out, portions)
    if out is not None:
        total = text.size(sum(each.size for each in found))
        print(f"{shown(out)}: {text.counted(len(found), 'file')}, {total}")


def _warn(of: str) -> None:
    print(f"mountdl: warning: {of}", file=sys.stderr)


def _kind(order: Order) -> str:
    if order.kind is not None:
        return order.kind
    return _SUFFIXES.get(Path(order.out or "").suffix.lower(), "meta4")


def _out(order: Order, kind: str) -> Path | None:
    """Return where to write; None for standard output."""
    if order.out == "-":
        return None
    if order.out is not None:
        return Path(order.out)
    if len(order.files) > 1:
        raise UsageError("name what to write with -o, for there are several files")
    name = order.files[0].resolve().name
    return Path(f"{name}{FORMATS[kind]}")


def _check_mirrors(mirrors: Sequence[str], kind: str) -> None:
    for mirror in mirrors:
        try:
            urls.absolute(mirror, schemes=_SEEDS if kind == "torrent" else urls.SCHEMES)
        except urls.UrlRefused as refusal:
            raise UsageError(f"--mirror: {refusal}; name a URL like https://mirror.example.org/pub/") from None


def _flat(found: list[Found]) -> list[Found]:
    """Return *found* without folders, which a link can't name."""
    names: set[str] = set()
    for each in found:
        if each.path.name in names:
            raise UsageError(f"a magnet link names no folders, and two files are called {shown(each.path.name)}")
        names.add(each.path.name)
    return found


def _others(order: Order, kind: str, found: list[Found], progress: Progress) -> Iterable[str]:
    alone = len(found) == 1 and not order.files[0].is_dir()
    algorithms = [*_WHOLE[kind], *(_FAST_TOPICS if kind == "magnet" and librhash.available() else ())]
    entries = []
    for each in found:
        chopped = None
        if kind in _PIECES and each.size:
            chopped = sums.PieceSums(_PIECES[kind], _length(order, each.size))
        summed = sums.Sums(algorithms, chopped)
        read(each, summed, progress)
        entries.append(
            Entry(
                each.path,
                each.size,
                digests=summed.digests(),
                pieces=None if chopped is None else chopped.finish(),
                mirrors=_mirrors(order.mirrors, each.path, alone=alone),
            )
        )
    if kind == "magnet":
        return compose.magnets(entries)
    return (compose.metalink4 if kind == "meta4" else compose.metalink3)(entries, _GENERATOR)


def _torrent(order: Order, found: list[Found], progress: Progress) -> Iterable[bytes]:
    chopped = sums.PieceSums("sha-1", _length(order, sum(each.size for each in found)))
    for each in found:
        read(each, sums.Sums((), chopped), progress)
    entries = [Entry(each.path, each.size) for each in found]
    name = found[0].path.parts[0]
    made = compose.torrent(entries, name, chopped.finish(), order.mirrors, _GENERATOR)
    if len(made) > MAX_TORRENT:
        raise UsageError("--piece-length: the torrent would be too large for its readers; choose a longer one")
    return [made]


def _length(order: Order, size: int) -> int:
    length = order.length or sums.piece_length(size)
    if size > MAX_PIECES * length:
        raise UsageError(f"--piece-length: {size} bytes would have more than {MAX_PIECES} pieces; choose a longer one")
    return length


def _mirrors(given: Sequence[str], path: PurePosixPath, *, alone: bool) -> tuple[MirrorRef, ...]:
    """Return the URLs of the file at *path*: of a single file a URL may be its own, else it is a folder's."""
    made = []
    for place, url in enumerate(dict.fromkeys(urls.absolute(each) for each in given), 1):
        if url.endswith("/") or not alone:
            below = "/".join(quote(part, safe="") for part in path.parts)
            url = f"{url}{'' if url.endswith('/') else '/'}{below}"  # noqa: PLW2901  # that is the mirror's
        made.append(MirrorRef(url, min(place, LOWEST_PRIORITY)))
    return tuple(made)


def read(found: Found, summed: sums.Sums, progress: Progress) -> None:
    """Feed the bytes of *found* to *summed*. UsageError when they can't be read or change meanwhile."""
    buffer = memoryview(bytearray(_STEP))
    progress.start(found.path.name)
    total = 0
    try:
        with found.place.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                summed.update(buffer[:count])
                total += count
                progress.add(count)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise UsageError(f"{shown(found.place)} can't be read: {error.strerror}", ExitStatus.IO) from error
    if (total, after.st_mtime_ns) != (found.size, found.mtime_ns):
        raise UsageError(f"{shown(found.place)} changed while it was read; try again", ExitStatus.IO)


def _write(out: Path | None, portions: Iterable[str | bytes]) -> None:
    """Write *portions* to *out*, which is replaced at once when all is on disk, or to standard output."""
    try:
        if out is None:
            _pour(portions, sys.stdout.fileno())
            return
        with _replacing(out) as descriptor:
            _pour(portions, descriptor)
    except BrokenPipeError:
        raise
    except OSError as error:
        what = shown(out or "standard output")
        raise UsageError(f"{what} can't be written: {error.strerror}", write_status(error)) from error


@contextlib.contextmanager
def _replacing(out: Path) -> Iterator[int]:
    if out.exists() and not out.is_file():
        # A device or a pipe is written to as it is: replacing it would take it away.
        descriptor = os.open(out, os.O_WRONLY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        return
    out = out.resolve()
    descriptor, name = tempfile.mkstemp(prefix=f".{out.name[:100]}.", dir=out.parent)
    try:
        try:
            yield descriptor
            with contextlib.suppress(PermissionError):  # FAT has no modes
                os.fchmod(descriptor, _mode(out))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        Path(name).replace(out)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _mode(out: Path) -> int:
    if out.exists():
        return stat.S_IMODE(out.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _pour(portions: Iterable[str | bytes], descriptor: int) -> None:
    with open(descriptor, "wb", closefd=False) as file:
        file.writelines(portion.encode() if isinstance(portion, str) else portion for portion in portions)
