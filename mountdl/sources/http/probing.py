"""What a cheap question to an HTTP mirror tells: size, ranges, digests in its headers.

HEAD first; where a server refuses that or says too little, a GET of one byte.
"""

import base64
import binascii
import re
import time
from collections.abc import Mapping
from contextlib import suppress

import httpx

from mountdl.descriptors.model import MirrorRef
from mountdl.errors import SourceMismatch, SourceRefused, SourceUnavailable
from mountdl.integrity import ALGORITHMS, canonical, digest_length
from mountdl.sources.base import Probe
from mountdl.sources.http.answers import Refuse, Wait, content_range, failure
from mountdl.sources.http.client import Client, Reply, source_error
from mountdl.sources.http.heads import Headers
from mountdl.sources.http.mirror import parsed, shown

_ONE_BYTE: Headers = [(b"Range", b"bytes=0-0")]
_DIGEST = re.compile(r"([A-Za-z0-9-]{2,20})=(:?)([A-Za-z0-9+/]{16,100}={0,2})\2")


async def probe(client: Client, ref: MirrorRef) -> Probe:
    """Ask what *ref* has. Raises SourceError when it answers neither question."""
    url = parsed(ref.url)
    name = shown(url)
    if url is None:
        raise SourceRefused(name, "not an http address")
    try:
        head = await _answer(client, "HEAD", url, [])
        told = _told_by_head(head)
        if told is not None and told.ranges:
            return told
        return _told_by_get(name, await _answer(client, "GET", url, _ONE_BYTE), told)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise source_error(name, error) from error


async def _answer(client: Client, method: str, url: httpx.URL, headers: Headers) -> Reply:
    reply = (await client.follow(method, url, headers)).reply
    await reply.body.aclose()
    return reply


def _told_by_head(reply: Reply) -> Probe | None:
    size = _whole_size(reply.headers)
    if reply.status != 200 or size is None:
        return None
    ranges = "bytes" in reply.headers.get("accept-ranges", "").lower()
    return Probe(size, ranges, digests_of(reply.headers))


def _told_by_get(name: str, reply: Reply, before: Probe | None) -> Probe:
    headers = reply.headers
    told = content_range(headers.get("content-range"))
    if reply.status in {206, 416} and told is not None and (reply.status == 206 or told[1] == 0):
        return Probe(told[1], ranges=True, digests=digests_of(headers) if "content-encoding" not in headers else {})
    if before is not None:
        return before
    if reply.status == 200:
        return Probe(_whole_size(headers), ranges=False, digests=digests_of(headers))
    verdict = failure(reply.status, headers, time.time())
    if isinstance(verdict, Wait):
        raise SourceUnavailable(name, verdict.reason, verdict.retry_after)
    if isinstance(verdict, Refuse):
        raise SourceRefused(name, verdict.reason)
    raise SourceMismatch(name, verdict.reason)


def _whole_size(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "").strip()
    if headers.get("content-encoding", "identity").lower() != "identity" or "transfer-encoding" in headers:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def digests_of(headers: Mapping[str, str]) -> dict[str, bytes]:
    """Return the valid digests of the whole file: Repr-Digest (RFC 9530), Digest (RFC 3230), raw by algorithm."""
    digests: dict[str, bytes] = {}
    if headers.get("content-encoding", "identity").lower() != "identity":
        return digests
    for header in ("digest", "repr-digest"):
        for name, _, text in _DIGEST.findall(headers.get(header, "")):
            algorithm = "sha-1" if name.lower() == "sha" else canonical(name)
            with suppress(binascii.Error):
                value = base64.b64decode(text, validate=True)
                if algorithm in ALGORITHMS and len(value) == digest_length(algorithm):
                    digests[algorithm] = value
    return digests
