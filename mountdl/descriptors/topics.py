"""Exact topics: the URNs by which a magnet says what its bytes are. Pure.

Law: a topic counts only if its text is exactly one of the forms that its namespace has; by length, never
by guess. An all-zero info-hash is none (libtorrent reads it as absent).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mountdl import integrity
from mountdl.descriptors import values

_MULTIHASH_SHA256 = "1220"
# Known names of hashes that nobody here can compute or look up.
_UNSUPPORTED = frozenset({"kzhash", "crc32c", "btpk", "uuid", "oid"})
# RHash writes plain MD4 and Tiger so too; what is a tree or a list has a namespace of its own.
_HEX_DIGESTS = (integrity.PIECE_ALGORITHMS | {"md4", "tiger"}) - {"sha-1"}
_URN = re.compile(r"urn:(tree:tiger[:/]|[a-z0-9-]+:)(.*)", re.IGNORECASE | re.DOTALL)
_FRAGMENT = re.compile(r"#\w*\Z", re.ASCII)


class TopicRefused(Exception):
    """A topic that tells nothing; *kind* is "bad-urn" or "unsupported"."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Topic:
    """What one topic says: an info-hash of either version, or digests of the whole file."""

    btih: bytes | None = None
    btmh: bytes | None = None
    digests: Mapping[str, bytes] = field(default_factory=dict)


def topic(text: str) -> Topic:
    """Return what the URN *text*, already percent-decoded, says. Raises TopicRefused."""
    match = _URN.fullmatch(values.stripped(text))
    if match is None:
        raise TopicRefused("bad-urn", "a topic is not a URN")
    namespace, rest = match[1].lower().rstrip(":/"), match[2]
    found = _known(namespace, rest)
    if found is None and "#" in rest:
        # A plain word after "#" behind a complete hash is a fragment somebody appended.
        found = _known(namespace, _FRAGMENT.sub("", rest))
    if found is not None:
        return found
    if namespace in _UNSUPPORTED or not _is_namespace(namespace):
        raise TopicRefused("unsupported", f"topics of kind {namespace[:20]} are not supported")
    raise TopicRefused("bad-urn", f"a topic of kind {namespace} has no hash of its length")


def _known(namespace: str, text: str) -> Topic | None:
    if namespace == "btih":
        found = _either(text, 20)
        return Topic(btih=found) if found and any(found) else None
    if namespace == "btmh":
        found = values.hexadecimal(text[4:], 32) if text.startswith(_MULTIHASH_SHA256) else None
        return Topic(btmh=found) if found and any(found) else None
    digests = _bitprint(text) if namespace == "bitprint" else _digest(namespace, text)
    return Topic(digests=digests) if digests else None


def _is_namespace(namespace: str) -> bool:
    return namespace in {"btih", "btmh", "bitprint", "tree:tiger", "ed2k", "ed2khash", "aich", "crc32"} or (
        integrity.canonical(namespace) in _HEX_DIGESTS | {"sha-1"}
    )


def _either(text: str, length: int) -> bytes | None:
    return values.hexadecimal(text, length) or values.base32(text, length)


def _bitprint(text: str) -> dict[str, bytes] | None:
    head, _, tail = text.partition(".")
    sha1, tree = values.base32(head, 20), values.base32(tail, 24)
    return {"sha-1": sha1, "tth": tree} if sha1 and tree else None


def _digest(namespace: str, text: str) -> dict[str, bytes] | None:
    name: str | None = None
    value: bytes | None = None
    if namespace == "tree:tiger":
        # "tree:tiger/:" and "tree:tiger/1024:" name the size of a leaf, which is always 1024.
        text = re.sub(r"\A(?:1024)?/?:", "", text)
        name, value = "tth", _either(text, 24)
    elif namespace in {"ed2k", "ed2khash"}:
        name, value = "ed2k", values.hexadecimal(text, 16)
    elif namespace == "aich":
        name, value = "aich", _either(text, 20)
    elif namespace == "crc32":
        name, value = "crc32", _crc32(text)
    elif integrity.canonical(namespace) == "sha-1":
        name, value = "sha-1", _either(text, 20)
    elif integrity.canonical(namespace) in _HEX_DIGESTS:
        name = integrity.canonical(namespace)
        value = values.hexadecimal(text, integrity.digest_length(name))
    return {name: value} if name and value else None


def _crc32(text: str) -> bytes | None:
    """Eight hexadecimal digits (RHash), any other count of digits is decimal."""
    value = values.number(text)
    if len(text) == 8 or value is None:
        return values.hexadecimal(text, 4)
    return value.to_bytes(4) if value < 1 << 32 else None
