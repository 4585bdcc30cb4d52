"""Which proxy leads to a host. Pure: settings and an address in, a proxy or None out."""

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from mountdl.settings import ProxySettings
from mountdl.sources.credentials import Login, from_url

_PORTS = {"http": 8080, "socks5": 1080}
_KINDS = {"http": "http", "socks5": "socks5", "socks5h": "socks5", "socks": "socks5"}
_NO_TLS = (
    "a proxy like http://host:3128, which may lead to https too: TLS to the proxy itself is not spoken; "
    "name its plain port, or a tunnel to it (stunnel, ssh -L) as http://127.0.0.1:port"
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: *kind* is "http" or "socks5"."""

    kind: str
    host: str
    port: int
    login: Login | None = None

    def __str__(self) -> str:
        """Return where it is, without a password."""
        return f"{self.kind}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parse(text: str) -> Proxy:
    """Read "[http://|socks5://][user:password@]host[:port]". Raises ValueError, whose text says what is allowed."""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        kind, host, port = _KINDS.get(parts.scheme.lower()), parts.hostname, parts.port
    except ValueError:
        kind = host = port = None
    if url.lower().startswith("https://"):
        raise ValueError(_NO_TLS)
    if kind is None or not host or not re.fullmatch(r"[A-Za-z0-9._:-]{1,255}", host):
        raise ValueError("a proxy like http://host:3128 or socks5://user:password@host:1080")
    return Proxy(kind, host, port or _PORTS[kind], from_url(url))


def password_wanted(asked: str, status: int, *, said: bool) -> str:
    """Say what a proxy wants that answered *status* with *asked* in Proxy-Authenticate.

    *said*: a user name and a password were said to it, as Basic (RFC 7617), the only scheme that is spoken.
    """
    unquoted = re.sub(r'"[^"]*"', "_", asked)
    schemes = [name.lower() for name in re.findall(r"(?:^|,)\s*([A-Za-z-]{1,20})(?=\s+\w|\s*(?:,|$))", unquoted)]
    known = [name for name in ("Digest", "Negotiate", "NTLM") if name.lower() in schemes]
    if known and "basic" not in schemes:
        # At most 100 characters are told of an answer.
        return f"the proxy wants {known[0]} ({status}), only Basic is spoken: put cntlm or px between, or use SOCKS5"
    if said:
        return f"the proxy refused the user name and password ({status})"
    return f"the proxy wants a user name and a password ({status})"


def proxy_for(settings: ProxySettings, scheme: str, host: str, port: int) -> Proxy | None:
    """Return the proxy that leads to *host*:*port* for the protocol *scheme*; None to go there directly.

    Raises ValueError where the settings name one that can't be used.
    """
    family = "ftp" if scheme in {"ftp", "ftps", "ftpes"} else scheme
    own = {"http": settings.http, "https": settings.https, "ftp": settings.ftp}.get(family)
    text = own if own is not None else settings.all
    if not text or excepted(settings.none, host, port):
        return None
    return parse(text)


def excepted(patterns: tuple[str, ...], host: str, port: int) -> bool:
    """Say whether one of *patterns* names *host*.

    "*" names all, "example.org" and ".example.org" a domain with all below it, "10.0.0.0/8" a network; a port may
    follow after a colon.
    """
    return any(_names(pattern.strip().lower(), host.lower().rstrip("."), port) for pattern in patterns)


def _names(pattern: str, host: str, port: int) -> bool:
    if pattern == "*":
        return True
    found = re.fullmatch(r"(\[[^]]+\]|[^:]+):(\d+)", pattern)
    if found is not None:
        if int(found[2]) != port:
            return False
        pattern = found[1]
    pattern = pattern.strip("[]")
    with suppress(ValueError):
        network = ipaddress.ip_network(pattern, strict=False)
        with suppress(ValueError):
            return ipaddress.ip_address(host) in network
        return False
    domain = pattern.lstrip("*").lstrip(".").rstrip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))
