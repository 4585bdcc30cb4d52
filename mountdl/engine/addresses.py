"""What tells transports apart. Pure."""

from urllib.parse import urlsplit


def scheme(url: str) -> str:
    """Return the scheme of *url*, lower case."""
    return urlsplit(url).scheme.lower()
