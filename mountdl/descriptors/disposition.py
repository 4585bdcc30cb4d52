"""The name that a server gives a file: Content-Disposition (RFC 6266). Pure.

Law: whatever comes in, a name that comes out is safe as the name of one file, begins with no dot and has nothing in it
that nobody sees. It is a label: what is in the file is none of its business.
"""

import re
from urllib.parse import unquote_to_bytes

from mountdl.descriptors import names

LONGEST = 4096
"""Characters of a field that are looked at."""

# RFC 6266 section 4.1, and what is sent in its place: blanks in a name without quotes, no type. Possessive throughout,
# so that nothing is tried twice.
_PARAMETER = re.compile(r"""[\s;]*+([^\s=;"]++)\s*+(?:=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^;]*+)))?+""", re.DOTALL)
_CHARSETS = frozenset({"utf-8", "iso-8859-1"})


def filename(field: str) -> str | None:
    """Return the name that the value *field* gives, None where it gives none that can be used.

    The form with a character set goes before the plain one (section 4.3); only the last part of a path counts.
    """
    given = _parameters(field[:LONGEST])
    for found in (_extended(given.get("filename*", "")), _plain(given.get("filename", ""))):
        name = names.component(re.split(r"[/\\]", found)[-1].lstrip(". ")) if found else None
        if name is not None and not names.invisible(name):
            return name
    return None


def _parameters(field: str) -> dict[str, str]:
    """Return what *field* says, by names in lower case; of two of one name the first."""
    found: dict[str, str] = {}
    place = 0
    while (match := _PARAMETER.match(field, place)) is not None:
        place = match.end()
        name, quoted, bare = match.groups()
        value = re.sub(r'\\(["\\])', r"\1", quoted) if quoted is not None else (bare or "").strip()
        found.setdefault(name.lower(), value)
    return found


def _extended(value: str) -> str:
    """Return the text of *value*, "UTF-8'en'na%C3%AFve.txt" (RFC 8187); empty where it is not so."""
    charset, _, rest = value.partition("'")
    encoded = rest.partition("'")[2]
    if charset.lower() not in _CHARSETS:
        return ""
    try:
        return unquote_to_bytes(encoded).decode(charset)
    except UnicodeError:
        return ""


def _plain(value: str) -> str:
    """Return *value*, which came as Latin-1, as what most servers mean by it."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value
