"""Addresses of peers and selections of files, as magnet links write them. Pure."""

import ipaddress
import re
from collections.abc import Iterable

from mountdl.descriptors import values
from mountdl.descriptors.cautions import Cautions, quoted
from mountdl.descriptors.limits import MAX_SELECTED

_PEER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})", re.ASCII)


def address(text: str) -> str | None:
    """Return "host:port" or "[IPv6]:port" if *text* is one, else None."""
    match = _PEER.fullmatch(text)
    if match is None or not 1 <= int(match[2]) <= 65535:
        return None
    host = match[1]
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return None
    return f"{host}:{int(match[2])}"


def selection(texts: Iterable[str], cautions: Cautions) -> tuple[int, ...] | None:
    """Return the indexes that BEP 53's lists ("0,2,4-6") select, sorted; None if they select nothing.

    Items that are no index or no rising range below `MAX_SELECTED` are passed over.
    """
    spans = []
    for item in (item for text in texts for item in text.split(",")):
        first, dash, last = item.partition("-")
        start = values.number(first)
        stop = values.number(last) if dash else start
        if start is not None and stop is not None and start <= stop < MAX_SELECTED:
            spans.append((start, stop))
        elif item:
            cautions.add("bad-selection", f"{quoted(item)} selects no file")
    found: list[int] = []
    for start, stop in sorted(spans):
        found.extend(range(max(start, found[-1] + 1 if found else 0), stop + 1))
    return tuple(found) or None
