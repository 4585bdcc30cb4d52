"""What a cheap question to an HTTP mirror tells: size, ranges, digests and other mirrors in its headers.

HEAD first; where a server refuses that or says too little, a GET of one byte. Mirrors count only on the
first answer, also where that is a redirect, and only with digests beside them (RFC 6249 sections 2 and 6).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import httpx

from mountdl.descriptors import linkheader
from mountdl.descriptors.cautions import Cautions
from mountdl.descriptors.disposition import filename
from mountdl.descriptors.model import MirrorRef, SwarmRef
from mountdl.descriptors.thex import THEX
from mountdl.errors import SourceRefused, SourceUnavailable
from mountdl.integrity import ALGORITHMS
from mountdl.sources.base import Probe
from mountdl.sources.http.answers import Wait, content_range, failure, length_of, moment
from mountdl.sources.http.client import Client, source_error
from mountdl.sources.http.heads import Headers
from mountdl.sources.http.mirror import parsed, shown

# RFC 9530 section 4, and RFC 3230's way to ask for the same.
_WANTED: Headers = [
    (b"Want-Repr-Digest", b"sha-256=10, sha-512=5"),
    (b"Want-Digest", b"SHA-256;q=1, SHA-512;q=0.5, SHA;q=0.1"),
]
_ONE_BYTE: Headers = [(b"Range", b"bytes=0-0"), *_WANTED]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came where the redirects led, and what the first answer said of the file."""

    status: int
    headers: Mapping[str, str]
    digests: Mapping[str, bytes] = field(default_factory=dict)
    mirrors: tuple[MirrorRef, ...] = ()
    documents: tuple[SwarmRef, ...] = ()

    def probe(self, size: int | None, *, ranges: bool) -> Probe:
        changed = moment(self.headers.get("last-modified"))
        return Probe(size, ranges, self.digests, self.mirrors, self.documents, changed, self.name)

    @property
    def name(self) -> str | None:
        """What the server calls the file; None too of an answer that is none."""
        return filename(self.headers.get("content-disposition", "")) if self.status in {200, 206} else None


async def probe(client: Client, ref: MirrorRef) -> Probe:
    """Ask what *ref* has. Raises SourceError when it answers neither question."""
    url = parsed(ref.url)
    name = shown(url)
    if url is None:
        raise SourceRefused(name, "not an http address")
    try:
        head = await _answer(client, "HEAD", url, _WANTED)
        told = _told_by_head(head)
        if told is not None and told.ranges:
            return told
        return _told_by_get(name, await _answer(client, "GET", url, _ONE_BYTE), told)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise source_error(name, error) from error


async def _answer(client: Client, method: str, url: httpx.URL, headers: Headers) -> _Answer:
    arrival = await client.follow(method, url, headers)
    await arrival.reply.body.aclose()
    first = linkheader.findings(arrival.first.items(), str(url), Cautions())
    digests = _verifying(first.digests)
    return _Answer(
        arrival.reply.status,
        arrival.reply.headers,
        digests or digests_of(arrival.reply.headers),
        linkheader.named_mirrors(first) if digests else (),
        (*linkheader.named_documents(first), *_tree(arrival.reply.headers.get("x-thex-uri"), arrival.url)),
    )


def _tree(text: str | None, url: httpx.URL) -> tuple[SwarmRef, ...]:
    """Return where a Gnutella server says that its tree of hashes is: "PATH;ROOT", on the same server."""
    if not text or len(text) > 1000:
        return ()
    try:
        where = url.copy_with(userinfo=b"").join(text.partition(";")[0].strip())
    except (httpx.InvalidURL, ValueError):
        return ()
    return (SwarmRef(str(where), THEX),) if (where.scheme, where.netloc) == (url.scheme, url.netloc) else ()


def _told_by_head(answer: _Answer) -> Probe | None:
    size = _whole_size(answer.headers)
    if answer.status != 200 or size is None:
        return None
    ranges = "bytes" in answer.headers.get("accept-ranges", "").lower()
    return answer.probe(size, ranges=ranges)


def _told_by_get(name: str, answer: _Answer, before: Probe | None) -> Probe:
    headers = answer.headers
    told = content_range(headers.get("content-range"))
    if answer.status in {206, 416} and told is not None and (answer.status == 206 or told[1] == 0):
        found = answer.probe(told[1], ranges=True)
        if before is not None and not found.digests:
            found = replace(found, digests=before.digests, mirrors=before.mirrors, documents=before.documents)
        return found if before is None else replace(found, name=found.name or before.name)
    if before is not None:
        return replace(before, name=before.name or answer.name)
    if answer.status == 200:
        return answer.probe(_whole_size(headers), ranges=False)
    verdict = failure(answer.status, headers, time.time())
    if isinstance(verdict, Wait):
        raise SourceUnavailable(name, verdict.reason, verdict.retry_after)
    raise SourceRefused(name, verdict.reason)


def _whole_size(headers: Mapping[str, str]) -> int | None:
    return length_of(headers) if headers.get("content-encoding", "identity").lower() == "identity" else None


def digests_of(headers: Mapping[str, str]) -> dict[str, bytes]:
    """Return the digests of the whole file that can verify it: Repr-Digest (RFC 9530), Digest (RFC 3230)."""
    return _verifying(linkheader.findings(headers.items(), "", Cautions()).digests)


def _verifying(found: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: value for name, value in found.items() if name in ALGORITHMS}
