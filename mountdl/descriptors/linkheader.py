"""Metalink/HTTP (RFC 6249): mirrors and digests from the fields of an answer. Pure.

Law: fields count only on the first answer of the URL that the user gave, also where that is a redirect;
what mirrors say of themselves does not. Digests are of the representation: with a Content-Encoding they
are not of the file.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mountdl.descriptors import links, urls, values
from mountdl.descriptors.cautions import Cautions, quoted
from mountdl.descriptors.limits import MAX_HEAD, MAX_URLS_KEPT
from mountdl.descriptors.model import (
    LOWEST_PRIORITY,
    METALINK3,
    METALINK4,
    TORRENT,
    Described,
    Descriptor,
    Duplicate,
    Entry,
    HeaderFindings,
    MirrorRef,
    SwarmRef,
)
from mountdl.errors import DescriptorError

Fields = Iterable[tuple[str, str]]
"""Names and values of header fields, in order, a name as often as it was sent."""

_METADATA = {
    "application/x-bittorrent": TORRENT,
    METALINK4: METALINK4,
    METALINK3: METALINK3,
}

# RFC 8288 section 3: a target in <>, then parameters. Possessive throughout, so that nothing is tried twice.
_GAP = re.compile(r"[\s,]*+")
_PARAMETER = re.compile(
    r"""\s*+;\s*+(?:([^\s=;,"<>]++)\s*+(?:=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s;,"]*+)))?+)?+""", re.DOTALL
)
_PLAIN = re.compile(r"""[^,"]*+""")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
# RFC 8941: a dictionary member that is a byte sequence, its own parameters aside.
_BYTES_MEMBER = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):(?:;[^,]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Link:
    target: str
    parameters: Mapping[str, str]

    def relations(self) -> set[str]:
        return set(self.parameters.get("rel", "").lower().split())


def parse(data: bytes, url: str) -> Descriptor:
    """Return what the head of an answer to a request for *url*, as it came over the wire, says of the file.

    Only the first head counts, for later ones are those of mirrors. Raises DescriptorError.
    """
    try:
        url = urls.absolute(url)
    except urls.UrlRefused as refusal:
        raise DescriptorError("bad-link", f"the URL that was asked for can't be used: {refusal}") from None
    cautions = Cautions()
    status, fields = _head(data, cautions)
    found = findings(fields, url, cautions)
    return Descriptor("headers", (_entry(found, url, status, fields),), cautions.kept(), headers=found)


def _head(data: bytes, cautions: Cautions) -> tuple[int, list[tuple[str, str]]]:
    """Return status and fields of the first head that is not an interim answer."""
    if len(data) > MAX_HEAD:
        raise DescriptorError("too-large", f"the head has more than {MAX_HEAD} bytes")
    if not data.strip():
        raise DescriptorError("empty", "the head is empty")
    status = 0
    for head in re.split(r"\r?\n\r?\n", data.decode("latin-1").lstrip("\r\n")):
        # RFC 9112 section 5.2: a line that starts with a blank goes on with the one before.
        lines = re.sub(r"\r?\n[ \t]+", " ", head).splitlines()
        match = re.match(r"HTTP/\S+ (\d{3})\b", lines[0]) if lines else None
        status = int(match[1]) if match else 0
        if 100 <= status < 200:
            continue
        return status, _fields(lines[1:] if match else lines, cautions)
    raise DescriptorError("not-well-formed", "there is no head of a final answer")


def _fields(lines: list[str], cautions: Cautions) -> list[tuple[str, str]]:
    found = []
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and name and not re.search(r"[\s\x00-\x1f]", name):
            found.append((name.lower(), value.strip()))
        elif line.strip():
            cautions.add("bad-field", "a line is no header field")
    if not found:
        raise DescriptorError("not-well-formed", "there is no header field")
    return found


def findings(fields: Fields, url: str, cautions: Cautions) -> HeaderFindings:
    """Return the mirrors, documents and digests that *fields* of the answer for *url* name."""
    reader = _Reader(url, cautions)
    given = [(name.lower(), value) for name, value in fields]
    reader.read_links([value for name, value in given if name == "link"])
    encoded = any(name == "content-encoding" and value.strip().lower() not in {"", "identity"} for name, value in given)
    reader.read_digests(given, encoded=encoded)
    if reader.duplicates and not reader.digests:
        # RFC 6249 section 6: mirrors that nothing can be checked against are not to be used.
        cautions.add("no-digest", "mirrors are named without a digest, so they are not used")
    reader.duplicates.sort(key=lambda each: (not each.preferred, each.priority))
    return HeaderFindings(
        dict(reader.digests), tuple(reader.duplicates[:MAX_URLS_KEPT]), tuple(reader.described_by[:MAX_URLS_KEPT])
    )


@dataclass(slots=True)
class _Reader:
    url: str
    cautions: Cautions
    duplicates: list[Duplicate] = field(default_factory=list)
    described_by: list[Described] = field(default_factory=list)
    digests: dict[str, bytes] = field(default_factory=dict)
    _void: set[str] = field(default_factory=set)

    def read_links(self, given: list[str]) -> None:
        for value in given:
            for link in _links(value):
                relations = link.relations()
                if relations & {"duplicate", "describedby"} and self._about_this(link):
                    self._take_link(link, relations)

    def _about_this(self, link: _Link) -> bool:
        anchor = link.parameters.get("anchor")
        return anchor is None or self._followed(anchor) == self.url

    def _followed(self, target: str) -> str | None:
        try:
            return urls.absolute(target, self.url)
        except urls.UrlRefused as refusal:
            self.cautions.add(refusal.code, str(refusal))
            return None

    def _take_link(self, link: _Link, relations: set[str]) -> None:
        url = self._followed(link.target)
        if url is None:
            return
        if "describedby" in relations:
            kind = values.mediatype(link.parameters.get("type")) or ""
            self.described_by.append(Described(url, kind))
        if "duplicate" in relations and url != self.url:
            self.duplicates.append(
                Duplicate(
                    url,
                    self._priority(link.parameters.get("pri")),
                    values.country(link.parameters.get("geo")),
                    "pref" in link.parameters,
                    values.number(link.parameters.get("depth")),
                )
            )

    def _priority(self, given: str | None) -> int:
        if given is None:
            return LOWEST_PRIORITY
        found = values.positive(given)
        if found is None or found > LOWEST_PRIORITY:
            self.cautions.add("bad-priority", f"the priority {quoted(given)} is not 1 to {LOWEST_PRIORITY}")
            return LOWEST_PRIORITY
        return found

    def read_digests(self, fields: list[tuple[str, str]], *, encoded: bool) -> None:
        for name, value in fields:
            if name == "repr-digest":
                members = _repr_digests(value)
            elif name == "digest":
                members = _instance_digests(value)
            else:
                continue
            for kind, text in members:
                self._take_digest(kind, text, encoded=encoded)

    def _take_digest(self, kind: str, text: str, *, encoded: bool) -> None:
        # RFC 5843: "id-sha-256" is of the file without its content coding.
        plain = kind.removeprefix("id-")
        if encoded and plain == kind:
            self.cautions.add("encoded", f"a {quoted(kind)} digest is of encoded content, not of the file")
            return
        algorithm = values.algorithm("sha-1" if plain == "sha" else plain)
        if algorithm is None:
            self.cautions.add("unknown-hash", f"digest type {quoted(kind)} is not known")
            return
        raw = _raw(algorithm, text)
        if raw is None:
            self.cautions.add("bad-hash", f"the {algorithm} digest is not one")
        elif algorithm not in self._void and self.digests.setdefault(algorithm, raw) != raw:
            del self.digests[algorithm]
            self._void.add(algorithm)
            self.cautions.add("conflicting-hash", f"two {algorithm} digests are given, so none is taken")


def _links(value: str) -> Iterator[_Link]:
    """Yield the links of one field, passing over what is malformed up to the next comma."""
    at = _end(_GAP, value, 0)
    while at < len(value):
        stop = value.find(">", at) if value[at] == "<" else -1
        if stop < 0:
            at = _end(_GAP, value, _next_comma(value, at))
            continue
        target = value[at + 1 : stop]
        at = stop + 1
        parameters: dict[str, str] = {}
        while match := _PARAMETER.match(value, at):
            at = match.end()
            if match[1]:
                text = re.sub(r"\\(.)", r"\1", match[2], flags=re.DOTALL) if match[2] is not None else match[3] or ""
                # RFC 8288 section 3.3: where a parameter is repeated, the first counts.
                parameters.setdefault(match[1].lower(), text)
        yield _Link(target, parameters)
        at = _end(_GAP, value, _next_comma(value, at))


def _end(pattern: re.Pattern[str], value: str, at: int) -> int:
    match = pattern.match(value, at)
    return match.end() if match else at


def _next_comma(value: str, at: int) -> int:
    """Return where the next comma outside of quotes is; the end of *value* if there is none."""
    while True:
        at = _end(_PLAIN, value, at)
        if at >= len(value) or value[at] == ",":
            return at
        quoted_string = _QUOTED.match(value, at)
        if quoted_string is None:
            return len(value)
        at = quoted_string.end()


def _instance_digests(value: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of a Digest field's members (RFC 3230 section 4.3.2)."""
    for member in value.split(","):
        kind, equals, text = member.strip().partition("=")
        if equals:
            yield kind.strip().lower(), text.strip().strip('"')


def _repr_digests(value: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of a Repr-Digest field's members (RFC 9530 section 3)."""
    for member in value.split(","):
        match = _BYTES_MEMBER.fullmatch(member.strip())
        if match is not None:
            yield match[1], match[2]


def _raw(algorithm: str, text: str) -> bytes | None:
    """Return the digest that *text* writes in base64, also of its hexadecimal digits (RFC 6249's own example)."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    raw = values.digest(algorithm, decoded.hex())
    if raw is not None or not decoded.isascii():
        return raw
    return values.digest(algorithm, decoded.decode("ascii"))


def named_mirrors(found: HeaderFindings) -> tuple[MirrorRef, ...]:
    """Return the mirrors that *found* names, best first; those with the server's entity tags before all."""
    return tuple(
        MirrorRef(each.url, 1 if each.preferred else each.priority, each.location) for each in found.duplicates
    )


def named_documents(found: HeaderFindings) -> tuple[SwarmRef, ...]:
    """Return the metalinks and torrents that *found* names."""
    given = ((each.url, _METADATA.get(each.mediatype)) for each in found.described_by)
    return tuple(SwarmRef(url, kind) for url, kind in given if kind is not None)


def _entry(found: HeaderFindings, url: str, status: int, fields: list[tuple[str, str]]) -> Entry:
    """Return the file at *url*: its mirrors beside it, if a digest can check them."""
    mirrors = [MirrorRef(url, 1)]
    if found.digests:
        mirrors += named_mirrors(found)
    return Entry(
        PurePosixPath(links.name_of(url)),
        size=_size(status, fields),
        digests=found.digests,
        mirrors=tuple(mirrors),
        swarms=named_documents(found),
    )


def _size(status: int, fields: list[tuple[str, str]]) -> int | None:
    given = dict(fields)
    if given.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        return None
    if status == 206:
        return values.number(given.get("content-range", "").rpartition("/")[2])
    return values.number(given.get("content-length")) if status == 200 else None
