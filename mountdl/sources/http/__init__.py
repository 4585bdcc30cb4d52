"""HTTP and HTTPS mirrors. The only home of httpx and h11."""

from mountdl.sources.http.transport import HttpTransport

__all__ = ["HttpTransport"]
