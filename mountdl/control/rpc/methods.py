"""The methods: what each does to the board, and what it answers.

Law: any parameters become a result or a `Fault`. What is too much is passed over, as aria2 does: further parameters,
options that mean nothing here, values that are no text.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import PurePosixPath

from mountdl.control import values
from mountdl.control.rpc import adding, structs
from mountdl.control.rpc.board import Board
from mountdl.control.rpc.faults import Fault
from mountdl.control.rpc.notices import EVENTS
from mountdl.control.rpc.paging import page
from mountdl.control.rpc.rows import ACTIVE, Row
from mountdl.control.rpc.structs import Facts
from mountdl.errors import MountdlError

SPOKEN = "1.37.0"
"""The version of aria2 whose RPC this is: clients compare it to decide what they may ask for."""
_MOST_ROWS = 1 << 31


class Arguments:
    """The parameters of a call, by place."""

    def __init__(self, params: list[object]) -> None:
        self._params = params

    def _at(self, place: int) -> object:
        if place >= len(self._params):
            raise Fault(f"The parameter at {place} is required but missing.")
        return self._params[place]

    def text(self, place: int) -> str:
        """Return a text. Raises Fault."""
        value = self._at(place)
        if not isinstance(value, str):
            raise _wrong(place)
        return value

    def whole(self, place: int) -> int:
        """Return a whole number. Raises Fault."""
        value = self._at(place)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MOST_ROWS:
            raise _wrong(place)
        return value

    def data(self, place: int) -> object:
        """Return a text or bytes. Raises Fault."""
        value = self._at(place)
        if not isinstance(value, str | bytes):
            raise _wrong(place)
        return value

    def texts(self, place: int, *, needed: bool = False) -> list[str]:
        """Return the texts of a list, nothing where it is missing. Raises Fault."""
        if place >= len(self._params) and not needed:
            return []
        value = self._at(place)
        if value is None:
            return []
        if not isinstance(value, list):
            raise _wrong(place)
        return [each for each in value if isinstance(each, str)]

    def options(self, place: int, *, needed: bool = False) -> dict[str, str]:
        """Return options as texts: those of numbers and truths too, nothing where they are missing. Raises Fault."""
        value = self._at(place) if needed or place < len(self._params) else None
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise _wrong(place)
        return {str(name): text for name, each in value.items() if (text := _option(each)) is not None}


def _wrong(place: int) -> Fault:
    return Fault(f"The parameter at {place} has wrong type.")


def _option(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


Method = Callable[[Board, Arguments], Awaitable[object]]


async def dispatch(method: str, params: list[object], board: Board) -> object:
    """Return what *method* answers. Raises Fault, and nothing else for anything that a client may send."""
    run = METHODS.get(method)
    if run is None:
        raise Fault(f"No such method: {method[:100]}")
    try:
        return await run(board, Arguments(params))
    except MountdlError as error:
        raise Fault(str(error)) from error


# -- what is told ---------------------------------------------------------------------------------------------


async def _tell_status(board: Board, given: Arguments) -> object:
    found = await board.find(given.text(0))
    [told] = await board.told([found], given.texts(1))
    if "gid" in told:
        told["gid"] = board.whole(given.text(0))  # one of two, where two descriptors show one file
    return told


async def _tell_active(board: Board, given: Arguments) -> object:
    return await board.told(await board.rows({ACTIVE}), given.texts(0))


async def _tell_waiting(board: Board, given: Arguments) -> object:
    offset, count, keys = given.whole(0), given.whole(1), given.texts(2)
    return await board.told(page(await board.waiting(), offset, count), keys)


async def _tell_stopped(board: Board, given: Arguments) -> object:
    offset, count, keys = given.whole(0), given.whole(1), given.texts(2)
    return await board.told(page(await board.stopped(), offset, count), keys)


async def _statistics(board: Board, _: Arguments) -> object:
    return await board.statistics()


async def _version(board: Board, _: Arguments) -> object:
    del board
    features = ["BitTorrent", "HTTPS", "Message Digest", "Metalink", "XML-RPC", "SFTP"]
    return {"version": SPOKEN, "enabledFeatures": features}


async def _session(board: Board, _: Arguments) -> object:
    return {"sessionId": board.session}


async def _facts(board: Board, given: Arguments) -> Facts:
    found = await board.find(given.text(0))
    if isinstance(found, Row):
        return board.facts(found)
    if isinstance(found, Facts):
        return found
    raise Fault(f"No data is available for GID {given.text(0)}: it was removed")


async def _files(board: Board, given: Arguments) -> object:
    return structs.files(await _facts(board, given))


async def _uris(board: Board, given: Arguments) -> object:
    return structs.uris(await _facts(board, given))


async def _servers(board: Board, given: Arguments) -> object:
    return structs.servers(await _facts(board, given))


async def _others(board: Board, given: Arguments) -> object:
    # Who they are is told by no layer: a swarm is one source.
    await _facts(board, given)
    return []


# -- what is done ---------------------------------------------------------------------------------------------


def _folder(board: Board, options: Mapping[str, str]) -> str:
    """Return where below the mount `dir` says that a file goes; what is elsewhere says nothing to a mount."""
    wanted, top = PurePosixPath(options.get("dir", "")), PurePosixPath(board.folder)
    if ".." in wanted.parts or not wanted.is_relative_to(top) or wanted == top:
        return ""
    return str(wanted.relative_to(top))


async def _add_uri(board: Board, given: Arguments) -> object:
    uris, options = given.texts(0, needed=True), given.options(1)
    await board.refresh()
    make = partial(adding.of_uris, uris, options, _folder(board, options), board.taken())
    return (await board.add(make, options))[0]


async def _add_torrent(board: Board, given: Arguments) -> object:
    data, options = given.data(0), given.options(2)
    await board.refresh()
    return (await board.add(partial(adding.of_torrent, data), options))[0]


async def _add_metalink(board: Board, given: Arguments) -> object:
    data, options = given.data(0), given.options(1)
    await board.refresh()
    return await board.add(partial(adding.of_metalink, data), options)


async def _pause(board: Board, given: Arguments) -> object:
    return await board.pause(given.text(0), on=True)


async def _unpause(board: Board, given: Arguments) -> object:
    return await board.pause(given.text(0), on=False)


async def _pause_all(board: Board, _: Arguments) -> object:
    await board.pause_all(on=True)
    return "OK"


async def _unpause_all(board: Board, _: Arguments) -> object:
    await board.pause_all(on=False)
    return "OK"


async def _remove(board: Board, given: Arguments) -> object:
    return await board.remove(given.text(0))


async def _hide(board: Board, given: Arguments) -> object:
    await board.hide(given.text(0))
    return "OK"


async def _hide_all(board: Board, _: Arguments) -> object:
    await board.hide_all()
    return "OK"


async def _option_of(board: Board, given: Arguments) -> object:
    return board.options(await _facts(board, given))


async def _options(board: Board, _: Arguments) -> object:
    return board.options()


async def _change_option(board: Board, given: Arguments) -> object:
    wanted = given.options(1, needed=True)
    await board.limit_one(given.text(0), _rate(wanted, "max-download-limit"))
    return "OK"


async def _change_options(board: Board, given: Arguments) -> object:
    wanted = given.options(0, needed=True)
    board.limit(_rate(wanted, "max-download-limit"), _rate(wanted, "max-overall-download-limit"))
    return "OK"


def _rate(wanted: Mapping[str, str], name: str) -> float | None:
    """Return the rate that *wanted* has as *name*, None where it has none. Raises Fault."""
    try:
        return values.rate(wanted[name]) if name in wanted else None
    except ValueError as error:
        raise Fault(f"{name} is not allowed; allowed is {error}") from error


async def _saved(board: Board, _: Arguments) -> object:
    # What was added is in the source already, as descriptors.
    del board
    return "OK"


def _refusing(reason: str) -> Method:
    async def refuse(board: Board, given: Arguments) -> object:
        del board, given
        raise Fault(reason)

    return refuse


async def _shut_down(board: Board, _: Arguments) -> object:
    raise Fault(f"a mount is not ended by RPC, for others may read it: mountdl unmount {board.folder}")


async def _methods(board: Board, _: Arguments) -> object:
    del board
    return [*METHODS, MULTICALL]


async def _events(board: Board, _: Arguments) -> object:
    del board
    return [f"aria2.{event}" for event in EVENTS]


MULTICALL = "system.multicall"
OPEN = frozenset({"system.listMethods", "system.listNotifications"})
"""Methods that need no token."""
METHODS: Mapping[str, Method] = {
    "aria2.addUri": _add_uri,
    "aria2.addTorrent": _add_torrent,
    "aria2.getPeers": _others,
    "aria2.addMetalink": _add_metalink,
    "aria2.remove": _remove,
    "aria2.pause": _pause,
    "aria2.forcePause": _pause,
    "aria2.pauseAll": _pause_all,
    "aria2.forcePauseAll": _pause_all,
    "aria2.unpause": _unpause,
    "aria2.unpauseAll": _unpause_all,
    "aria2.forceRemove": _remove,
    "aria2.changePosition": _refusing("a mount has no queue: what somebody reads comes first, whatever its place"),
    "aria2.tellStatus": _tell_status,
    "aria2.getUris": _uris,
    "aria2.getFiles": _files,
    "aria2.getServers": _servers,
    "aria2.tellActive": _tell_active,
    "aria2.tellWaiting": _tell_waiting,
    "aria2.tellStopped": _tell_stopped,
    "aria2.getOption": _option_of,
    "aria2.changeUri": _refusing("mirrors of a file are changed in its descriptor, which the mount follows"),
    "aria2.changeOption": _change_option,
    "aria2.getGlobalOption": _options,
    "aria2.changeGlobalOption": _change_options,
    "aria2.purgeDownloadResult": _hide_all,
    "aria2.removeDownloadResult": _hide,
    "aria2.getVersion": _version,
    "aria2.getSessionInfo": _session,
    "aria2.shutdown": _shut_down,
    "aria2.forceShutdown": _shut_down,
    "aria2.getGlobalStat": _statistics,
    "aria2.saveSession": _saved,
    "system.listMethods": _methods,
    "system.listNotifications": _events,
}
