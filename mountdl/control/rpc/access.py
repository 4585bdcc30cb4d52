"""Who may ask: tokens, and which pages of a browser. Pure.

Law: without a secret and without `--rpc-allow-origin-all` nothing that a browser sends on behalf of a page of somebody
else's is obeyed: it tells where it is from (`Origin`, `Sec-Fetch-Site`), or it is a GET, which such pages can have sent
without either (RFC 6454 section 7.3; W3C Fetch Metadata), or it calls us by a name of its own (DNS rebinding).
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from mountdl.control.rpc.faults import Unauthorized
from mountdl.settings import RpcSettings

_TOKEN = "token:"  # noqa: S105  # a prefix


@dataclass(slots=True)
class Gate:
    """What one connection showed. *admitted* once a token was right; there is nothing to show without a *secret*.

    *barred* after a wrong one: of what came in the same request nothing more is looked at, so that a request is one
    guess.
    """

    secret: str | None
    admitted: bool = False
    barred: bool = False

    def __post_init__(self) -> None:
        self.admitted = self.secret is None

    def pass_through(self, params: list[object]) -> list[object]:
        """Return *params* without their token. Raises Unauthorized."""
        token = None
        if params and isinstance(params[0], str) and params[0].startswith(_TOKEN):
            token, params = params[0][len(_TOKEN) :], params[1:]
        if self.secret is None:
            return params
        if self.barred or token is None or not _same(token, self.secret):
            self.barred = True
            raise Unauthorized
        self.admitted = True
        return params


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def refusal(settings: RpcSettings, method: str, headers: Mapping[str, str]) -> str | None:
    """Return why a request of HTTP with *headers* is not answered, whatever it asks; None when it may be."""
    if settings.secret is not None or settings.allow_origin_all:
        return None
    host = headers.get("host", "")
    if host and not _local(host):
        return f"{host[:100]} is no address: without --rpc-secret only addresses and localhost are answered to"
    if foreign(headers):
        return "a page from elsewhere asks: give --rpc-secret, or --rpc-allow-origin-all to let every page control this"
    if method == "GET" and headers.get("upgrade", "").lower() != "websocket":
        return "GET needs --rpc-secret, for any page could have sent it: use POST"
    return None


def foreign(headers: Mapping[str, str]) -> bool:
    """Say whether a page from elsewhere asks."""
    host, origin = headers.get("host", ""), headers.get("origin")
    return (origin is not None and _place(origin) != host) or headers.get("sec-fetch-site") in _ELSEWHERE


_HOST = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::\d*)?")
_ELSEWHERE = frozenset({"cross-site", "same-site"})


def _place(origin: str) -> str | None:
    """Return host and port of *origin* as a Host field has them; None where it has none."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc or None


def _local(host: str) -> bool:
    """Say whether *host*, perhaps with a port, can't be a name that somebody else gives to our address."""
    found = _HOST.fullmatch(host)
    name = (found[1] or found[2]) if found is not None else ""
    if name.lower() == "localhost":
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
