"""A disc image by the book (ISO 9660, also ECMA-119), written in one go and listed by its directory records.

Pure: bytes in, bytes out. Section numbers are those of ECMA-119, 4th edition. Names keep to level 1 (eight
and three capitals), which every reader shows alike.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

SECTOR = 2048
_FIRST = 16
"""The first 16 sectors belong to whoever boots from the disc (6.2.1)."""
_DESCRIPTORS = 2
_DATE = bytes([124, 1, 1, 0, 0, 0, 0])  # 9.1.5: the 1st of January 2024, 0:00 GMT
_DIRECTORY = 2  # 9.1.6
_ROOT = PurePosixPath("/")
_MOST_RECORDS = 10_000
_LARGEST_DIRECTORY = 1 << 20

Read = Callable[[int, int], bytes]
"""Returns the bytes from an offset on, as many as a length says."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file on a disc: where its bytes start and how many there are."""

    path: PurePosixPath
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class _Placed:
    """What a directory record says of a file or directory."""

    sector: int
    size: int
    flags: int


def image(files: Mapping[PurePosixPath, bytes], label: str) -> bytes:
    """Return a disc called *label* that holds *files*, whose paths are absolute and in level 1 names."""
    folders = _folders(files)
    table_sectors = _sectors(len(_path_table(folders, dict.fromkeys(folders, 0), "<")))
    placed = _place(files, folders, _FIRST + _DESCRIPTORS + 2 * table_sectors)
    sectors = {folder: placed[folder].sector for folder in folders}
    tables = [_path_table(folders, sectors, order) for order in "<>"]
    ends = max(spot.sector + _sectors(spot.size) for spot in placed.values())
    parts = [bytes(_FIRST * SECTOR), _primary(label, placed[_ROOT], ends, len(tables[0]), table_sectors), _terminator()]
    parts += [_padded(table) for table in tables]
    parts += [_padded(_records(folder, placed)) for folder in folders]
    parts += [_padded(files[path]) for path in sorted(files)]
    return b"".join(parts)


def _folders(files: Mapping[PurePosixPath, bytes]) -> list[PurePosixPath]:
    """Return all directories in the order of path tables (6.9.1): by depth, then parent, then name."""
    found = {parent for path in files for parent in path.parents} | {_ROOT}
    return sorted(found, key=lambda folder: (len(folder.parts), folder.parts))


def _place(
    files: Mapping[PurePosixPath, bytes], folders: list[PurePosixPath], first: int
) -> dict[PurePosixPath, _Placed]:
    placed: dict[PurePosixPath, _Placed] = {}
    known = {path: _Placed(0, len(data), 0) for path, data in files.items()}
    known |= dict.fromkeys(folders, _Placed(0, 0, _DIRECTORY))
    for folder in folders:
        size = _sectors(len(_records(folder, known))) * SECTOR
        placed[folder] = _Placed(first, size, _DIRECTORY)
        first += size // SECTOR
    for path in sorted(files):
        placed[path] = _Placed(first, len(files[path]), 0)
        first += _sectors(len(files[path]))
    return placed


def _records(folder: PurePosixPath, placed: Mapping[PurePosixPath, _Placed]) -> bytes:
    """Return the records of *folder* (6.8): itself, its parent, its children by name."""
    children = sorted((path for path in placed if path.parent == folder != path), key=lambda path: path.name)
    records = [_record(b"\0", placed[folder]), _record(b"\1", placed[folder.parent])]
    records += [_record(_identifier(path, placed[path]), placed[path]) for path in children]
    body = bytearray()
    for record in records:
        # 6.8.1.1: a record ends in the sector in which it begins.
        if len(body) % SECTOR + len(record) > SECTOR:
            body += bytes(-len(body) % SECTOR)
        body += record
    return bytes(body)


def _identifier(path: PurePosixPath, spot: _Placed) -> bytes:
    return path.name.encode("ascii") + (b"" if spot.flags & _DIRECTORY else b";1")


def _record(identifier: bytes, spot: _Placed) -> bytes:
    """Return a directory record (9.1)."""
    body = bytes([0]) + _both32(spot.sector) + _both32(spot.size) + _DATE + bytes([spot.flags, 0, 0]) + _both16(1)
    body += bytes([len(identifier)]) + identifier
    body += bytes((len(body) + 1) % 2)
    return bytes([len(body) + 1]) + body


def _path_table(folders: list[PurePosixPath], sectors: Mapping[PurePosixPath, int], order: str) -> bytes:
    """Return the path table (9.4) in byte *order* "<" or ">"."""
    numbers = {folder: number for number, folder in enumerate(folders, 1)}
    table = b""
    for folder in folders:
        name = folder.name.encode("ascii") or b"\0"
        table += struct.pack(f"{order}BBIH", len(name), 0, sectors[folder], numbers[folder.parent]) + name
        table += bytes(len(name) % 2)
    return table


def _primary(label: str, root: _Placed, sectors: int, table: int, table_sectors: int) -> bytes:
    """Return the primary volume descriptor (8.4)."""
    tables = _FIRST + _DESCRIPTORS
    head = b"\1CD001\1\0" + b" " * 32 + label.encode("ascii").ljust(32) + bytes(8)
    sizes = _both32(sectors) + bytes(32) + _both16(1) + _both16(1) + _both16(SECTOR) + _both32(table)
    places = struct.pack("<II", tables, 0) + struct.pack(">II", tables + table_sectors, 0)
    names = b" " * 128 * 3 + b"MOUNTDL".ljust(128) + b" " * 37 * 3
    made, never = b"2024010100000000\0", b"0" * 16 + b"\0"
    return _padded(head + sizes + places + _record(b"\0", root) + names + made + made + never + never + b"\1")


def _terminator() -> bytes:
    return _padded(b"\xffCD001\1")


def _both16(value: int) -> bytes:
    return struct.pack("<H", value) + struct.pack(">H", value)


def _both32(value: int) -> bytes:
    return struct.pack("<I", value) + struct.pack(">I", value)


def _sectors(size: int) -> int:
    return -(-size // SECTOR)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % SECTOR)


def listing(read: Read) -> list[Listed]:
    """Return the files of the disc that *read* gives, by its directory records alone.

    Raises ValueError when it is no disc, or its directories are broken, too large or turn in a circle.
    """
    primary = read(_FIRST * SECTOR, SECTOR)
    if len(primary) < SECTOR or primary[:7] != b"\1CD001\1":
        raise ValueError("not an ISO 9660 disc")
    found: list[Listed] = []
    waiting, seen = [(_ROOT, _spot(primary[156:190]))], 0
    while waiting:
        folder, spot = waiting.pop(0)
        if spot.size > _LARGEST_DIRECTORY:
            raise ValueError(f"the directory {folder} is too large")
        for name, child in _children(read(spot.sector * SECTOR, spot.size)):
            seen += 1
            if seen > _MOST_RECORDS:
                raise ValueError("too many directory records")
            if child.flags & _DIRECTORY:
                waiting.append((folder / name, child))
            else:
                found.append(Listed(folder / name, child.sector * SECTOR, child.size))
    return found


def _children(records: bytes) -> Iterator[tuple[str, _Placed]]:
    offset = 0
    while offset < len(records):
        length = records[offset]
        if length < 34:
            # The rest of the sector is empty.
            offset = (offset // SECTOR + 1) * SECTOR
            continue
        record = records[offset : offset + length]
        if len(record) < length:
            raise ValueError("a directory record is cut off")
        identifier = record[33 : 33 + record[32]]
        if identifier not in {b"\0", b"\1"}:
            yield identifier.decode("ascii", "replace").partition(";")[0].replace("/", "_"), _spot(record)
        offset += length


def _spot(record: bytes) -> _Placed:
    sector, size = struct.unpack_from("<I4xI", record, 2)
    return _Placed(sector, size, record[25])
