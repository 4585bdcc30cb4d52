"""From nodes of the tree to what stat(2) and getxattr(2) say of them."""

import os
import re
import stat
from itertools import accumulate

import pyfuse3

from mountdl.catalog.tree import Directory, File, Node
from mountdl.content import Content
from mountdl.engine.status import DownloadStatus

VALID = 1.0
"""Seconds that the kernel may keep names and attributes: a changed source shows within two."""
PREFIX = b"user.mountdl."
LONGEST_VALUE = 60_000
"""Bytes of one attribute; Linux takes 65,536, and lists none of a file of which one is longer."""
_INFO_HASH = re.compile(r"\Amagnet:.*[?&]xt=urn:bt(?:ih:|mh:1220)([0-9a-f]{40,64})")


def entry_attributes(node: Node, blocks: int) -> pyfuse3.EntryAttributes:
    """Return the attributes of *node*, of which *blocks* units of 512 bytes are on disk."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = pyfuse3.InodeT(node.inode)
    entry.entry_timeout = entry.attr_timeout = VALID
    entry.st_uid, entry.st_gid = os.getuid(), os.getgid()
    entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = node.mtime_ns
    if isinstance(node, Directory):
        entry.st_mode = pyfuse3.ModeT(stat.S_IFDIR | 0o555)
        entry.st_nlink = 2
        return entry
    entry.st_mode = pyfuse3.ModeT(stat.S_IFREG | 0o444)
    entry.st_nlink = 1
    entry.st_size = node.size
    entry.st_blksize = 128 << 10
    entry.st_blocks = blocks if isinstance(node, File) else -(-node.size // 512)
    return entry


def file_xattrs(content: Content, status: DownloadStatus, cautions: str) -> dict[bytes, bytes]:
    """Return the extended attributes of a file, without prefix."""
    digest = content.digest
    values = {
        "state": status.state,
        "verified": str(status.verified),
        "written": str(status.written),
        "level": content.level.value,
        "sources": "\n".join(_sources(status)),
        "error": status.error or cautions,
        "digest": str(digest) if digest is not None else "",
        "infohash": _info_hash(content),
    }
    return {name.encode(): value.encode()[:LONGEST_VALUE] for name, value in values.items() if value or name == "error"}


def _sources(status: DownloadStatus) -> list[str]:
    """Return a line for each source, or for as many as fit and one that says how many more there are."""
    lines = [f"{s.name}\t{s.state}\t{s.reason or ''}".rstrip() for s in status.sources]
    lengths = accumulate(len(line.encode()) + 1 for line in lines)
    fit = sum(length <= LONGEST_VALUE - 40 for length in lengths)
    return lines if fit == len(lines) else [*lines[:fit], f"and {len(lines) - fit} more"]


def _info_hash(content: Content) -> str:
    """Return the info-hash of the first torrent that is known to have *content*, in hexadecimal digits; "" for none."""
    found = (_INFO_HASH.search(ref.url) for ref in content.swarms)
    return next((match[1] for match in found if match is not None), "")


def note_xattrs(state: str, reason: str) -> dict[bytes, bytes]:
    """Return the extended attributes of a note, without prefix."""
    return {b"state": state.encode(), b"error": reason.encode()}
