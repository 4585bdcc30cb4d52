"""How each server wants to hear who we are: Basic (RFC 7617) and Digest (RFC 7616).

Law: nothing is said before a server asked for it, but what stands in its URL; a login goes to its own origin
only; an answer 401 is answered once, twice where a digest's nonce was stale. The body of a 401 is never read.
"""

from collections.abc import Callable
from contextlib import closing

import cachetools
import httpx

from mountdl.sources.credentials import Login
from mountdl.sources.http.connection import Origin

_MOST = 1024

Logins = Callable[[str, bool], Login | None]
"""Who we are at a URL; the flag says that a redirect led to another origin."""


class Authorisation:
    """What servers asked for, by origin and login, so that the next request need not be refused first."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins
        self._digests: cachetools.LRUCache[tuple[Origin, Login], httpx.DigestAuth] = cachetools.LRUCache(_MOST)
        self._basics: cachetools.LRUCache[tuple[Origin, Login], bool] = cachetools.LRUCache(_MOST)

    def prepare(self, request: httpx.Request, origin: Origin, *, redirected: bool) -> Login | None:
        """Add to *request* what its server is known to want; return the login for it, if there is one."""
        login = self._logins(str(request.url), redirected)
        if login is None:
            return None
        digest = self._digests.get((origin, login))
        if digest is not None:
            with closing(digest.auth_flow(request)) as flow:
                next(flow)
        elif (origin, login) in self._basics or request.url.userinfo:
            request.headers["Authorization"] = login.basic
        return login

    def answer(self, response: httpx.Response, origin: Origin, login: Login) -> bool:
        """Take in that *response* is a 401, and put into its request what it asks for; False if that is no use."""
        request, key = response.request, (origin, login)
        said = request.headers.get("Authorization", "")
        asked = [value.strip().lower() for value in response.headers.get_list("www-authenticate")]
        if any(value.startswith("digest ") for value in asked):
            stale = any("stale=true" in value.replace(" ", "").replace('"', "") for value in asked)
            if said.startswith("Digest ") and not stale:
                del self._digests[key]
                return False
            return self._digest(response, key)
        if any(value.split(" ")[0] == "basic" for value in asked) and not said.startswith("Basic "):
            self._basics[key] = True
            request.headers["Authorization"] = login.basic
            return True
        self._basics.pop(key, None)
        return False

    def _digest(self, response: httpx.Response, key: tuple[Origin, Login]) -> bool:
        auth = httpx.DigestAuth(key[1].user, key[1].password)
        try:
            with closing(auth.auth_flow(response.request)) as flow:
                next(flow)
                flow.send(response)
        except (StopIteration, httpx.ProtocolError, LookupError, ValueError, NotImplementedError):
            return False
        self._digests[key] = auth
        return True
