"""Which URLs a descriptor may send us to, and in what form they go on. Pure.

Law: what passes is an absolute URL of a scheme in `SCHEMES` with a host, in printable ASCII. `file:` and
bare paths would let a document publish files of this machine, so they never pass. Existing escapes stay.
Messages never quote a URL: it may hold a password.
"""

import ipaddress
import re
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from mountdl.descriptors.limits import MAX_URL
from mountdl.descriptors.values import XML_SPACE

SCHEMES = frozenset({"http", "https", "ftp", "ftps", "sftp"})
"""Schemes of mirrors."""

_NAMED_SCHEMES = frozenset({"rsync", "ed2k", "gnunet", "gopher", "data", "javascript", "file", "magnet"})

# What nearly every URL looks like: nothing to escape, no user, no odd host.
_ORDINARY = re.compile(
    r"(?:https?|ftps?|sftp)://[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?(?::[1-9]\d{0,3})?(?:/[!-~]*)?", re.ASCII
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY_END = re.compile("[/?#]")
_QUERY_OR_FRAGMENT = re.compile("[?#]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_.])?", re.ASCII)
_ZONE = (
    "a URL names a network interface (a zone identifier, the % after an IPv6 address), which another machine may call"
    " otherwise; name the host, or an address that is valid without"
)
# Everything printable in ASCII stays as it is: quoting it again would change what the server is asked for.
_KEEP = "".join(map(chr, range(0x21, 0x7F)))


class UrlRefused(Exception):
    """A URL that is not followed; *code* is the caution's code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def scheme_of(text: str) -> str:
    """Return the scheme of *text* in lower case; "" when it has none."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else ""


def absolute(text: str | None, base: str | None = None, schemes: frozenset[str] = SCHEMES) -> str:
    """Return *text* as an absolute URL that may be followed.

    A relative one is resolved against *base* (RFC 3986 section 5). None stands for a text over the limit.
    Raises UrlRefused.
    """
    text = _bounded(text)
    if schemes is SCHEMES and _ORDINARY.fullmatch(text):
        return text
    if not text:
        raise UrlRefused("bad-url", "a URL is empty")
    _refuse_controls(text)
    try:
        return _checked(_resolved(text, base), schemes)
    except (ValueError, UnicodeError) as problem:
        raise UrlRefused("bad-url", "a URL is malformed") from problem


def printable(text: str) -> str:
    """Return *text*, a URI of any scheme, with what is not printable in ASCII escaped. Raises UrlRefused."""
    text = _bounded(text)
    _refuse_controls(text)
    return quote(text, safe=_KEEP, errors="replace")


def shown(url: str) -> str:
    """Return *url* as everybody may see it: no user name, password, query or fragment. Never fails.

    Of one whose password has signs in it that should have been escaped, the scheme is all that is sure to be no part of
    the password.
    """
    scheme, separator, rest = url.partition("://")
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    behind = rest[len(authority) :]
    port = host.rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
    if port and "@" in behind and (behind[0] != "/" or not port.isdecimal()):
        return f"{scheme}{separator}…"
    path = _QUERY_OR_FRAGMENT.split(behind, maxsplit=1)[0]
    return f"{scheme}{separator}{host}{path}" if separator else _QUERY_OR_FRAGMENT.split(url, maxsplit=1)[0]


def _bounded(text: str | None) -> str:
    if text is None or len(text) > MAX_URL:
        raise UrlRefused("too-long", f"a URL has more than {MAX_URL} characters")
    return text.strip(XML_SPACE)


def _refuse_controls(text: str) -> None:
    if _CONTROL.search(text):
        raise UrlRefused("bad-url", "a URL has a control character")


def _resolved(text: str, base: str | None) -> str:
    if scheme_of(text):
        return text
    if base is None:
        raise UrlRefused("relative-url", "a URL is relative and there is no base URL")
    return urljoin(base, text)


def _checked(text: str, schemes: frozenset[str]) -> str:
    scheme = scheme_of(text)
    if scheme not in schemes:
        code = f"scheme-{scheme}" if scheme in _NAMED_SCHEMES | SCHEMES else "scheme-unknown"
        raise UrlRefused(code, f"URLs of scheme {scheme[:20] or 'none'} are not followed")
    parts = urlsplit(text)
    if not parts.hostname:
        raise UrlRefused("bad-url", "a URL has no host")
    if parts.port is not None and not 1 <= parts.port <= 65535:
        raise UrlRefused("bad-url", "a URL's port is out of range")
    escaped = [quote(part, safe=_KEEP) for part in (parts.path, parts.query, parts.fragment)]
    return urlunsplit((scheme, _authority(parts), *escaped))


def _authority(parts: SplitResult) -> str:
    user, at, host = parts.netloc.rpartition("@")
    if host.startswith("["):
        address, _, rest = host[1:].partition("]")
        plain, zone, _ = address.partition("%")
        ipaddress.IPv6Address(plain)
        if zone:  # RFC 6874 section 1: it says nothing outside the machine that it was written on
            raise UrlRefused("bad-url", _ZONE)
        if rest and not rest.startswith(":"):
            raise ValueError("text after an IPv6 address")
        return f"{quote(user, safe=_KEEP)}{at}{host}"
    name, colon, port = host.partition(":")
    if not name.isascii():
        name = name.encode("idna").decode("ascii")
    if not _HOST.fullmatch(name):
        raise ValueError("not a host name")
    return f"{quote(user, safe=_KEEP)}{at}{name}{colon if port else ''}{port}"
