"""From an address to a session: the way in, plain, with TLS from the first byte, or with TLS after AUTH.

Law: `ftps` never goes on in the plain. Where only the port is odd, either kind of TLS is tried, the one that
worked first; a server that admits nobody without TLS is met with it also under `ftp`.
"""

from collections.abc import MutableMapping
from enum import Enum

from mountdl.sources.ftp.address import Login
from mountdl.sources.ftp.channel import Broken, Control, NoTls, dial, secured
from mountdl.sources.ftp.session import Crowded, DemandsTls, Means, Refused, Session, bounded


class Way(Enum):
    """How a control connection is protected."""

    PLAIN = "plain"
    EXPLICIT = "explicit"
    IMPLICIT = "implicit"


async def opened(login: Login, means: Means, worked: MutableMapping[Login, Way]) -> Session:
    """Return a session for *login*; *worked* remembers the way in.

    Raises Refused, Crowded, Broken, Untrusted, WireError.
    """
    way = worked.get(login) or (Way.IMPLICIT if login.tls else Way.PLAIN)
    try:
        session = await _by(way, login, means)
    except DemandsTls:
        way = Way.EXPLICIT
        session = await _by(way, login, means)
    except Broken as error:
        # Nobody at the port of implicit TLS, or somebody who does not begin with TLS.
        if way is not Way.IMPLICIT or login.port == 990 or not (isinstance(error, NoTls) or login.port == 0):
            raise
        way = Way.EXPLICIT
        session = await _by(way, login, means)
    worked[login] = way
    return session


async def _by(way: Way, login: Login, means: Means) -> Session:
    control = await _connected(way, login, means)
    session = Session(control, means)
    try:
        await _greeted(control, means)
        if way is Way.EXPLICIT:
            await _protected(control, means)
        await session.begin(login)
    except BaseException:
        session.close()
        raise
    return session


async def _connected(way: Way, login: Login, means: Means) -> Control:
    port = login.port or (990 if way is Way.IMPLICIT else 21)
    try:
        proxy = means.proxy("ftps" if login.tls else "ftp", login.host, port)
    except ValueError as error:
        raise Refused(f"its proxy can't be used: {error}") from error
    connected = await dial(login.host, port, proxy, means.patience.connect)
    try:
        if way is Way.IMPLICIT:
            async with bounded(means.patience.connect, "TLS"):
                connected = await secured(connected, login.host, means.context())
        return Control(login.host, connected, proxy)
    except BaseException:
        connected.close()
        raise


async def _greeted(control: Control, means: Means) -> None:
    async with bounded(means.patience.connect, "greeting"):
        while (greeting := await control.hear()).preliminary:
            pass  # 120: in some minutes
    if greeting.crowded:
        raise Crowded(f"too many connections: {greeting.code} {greeting.text}")
    if greeting.code != 220:
        raise Broken(f"greets with {greeting.code} {greeting.text}")


async def _protected(control: Control, means: Means) -> None:
    async with bounded(means.patience.connect, "TLS"):
        reply = await control.ask("AUTH", b"TLS")
        if reply.code != 234:
            raise Refused(f"has no TLS: {reply.code} {reply.text}")
        await control.secure_by(means.context())
