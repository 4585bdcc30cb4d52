"""What passes between the commands and a daemon: a line of JSON each way, and what may be asked.

A request is `{"verb": ..., ...}`; an answer `{"result": ...}` or `{"error": ..., "exit_status": ...}`.
"""

import json
from collections.abc import Iterator
from typing import Protocol

from mountdl.errors import ExitStatus, MountdlError, UsageError

Json = dict[str, object]

MAX_REQUEST = 64 << 10
"""Bytes of a request."""
MAX_ANSWER = 256 << 20
"""Bytes of an answer: the status of 100,000 files takes 60 MB."""

A_TURN = 50
"""Files that are told of before readers get a turn: 1 to 3 ms; a quarter where their sources are told, too."""

WHAT = ("all", "playable")
"""What of a file can be waited for."""
PLAYABLE_HEAD = 4 << 20
"""Bytes from the start of a file that a player reads before its first picture."""
PLAYABLE_TAIL = 1 << 20
"""Bytes at the end of a file where many films keep their index."""
PLAYABLE_RATE = 1 << 20
"""Bytes a second that outrun a good film: 8 Mbit/s."""


class Control(Protocol):
    """What a mount answers to `mountdl status`, `why`, `wait` and `unmount`. Paths are relative to the mount.

    All raise MountdlError for a path that is not in the mount.
    """

    async def status(self, path: str | None, *, brief: bool = False) -> Json:
        """Return the mount, with the file at *path* only or with all.

        *brief*: without the sources of files that nobody has opened, which take most of the time.
        """

    def why(self, path: str) -> Json:
        """Return what became of the file at *path*: its sources, and incidents, oldest first."""

    async def want(self, path: str, what: str, timeout: float) -> None:  # noqa: ASYNC109  # the client's
        """Return once the file at *path* is whole ("all"), or can be played ("playable").

        Playable: its head and tail are readable, and the rest is here or arrives at `PLAYABLE_RATE`.

        Raises MountdlError with exit status TIMEOUT after *timeout* seconds, sooner when no source is left that could
        bring the rest, with the status of their failures. If cancelled, the want is withdrawn.
        """

    def shutdown(self) -> None:
        """Begin to end the mount, as a signal would."""


_STATUSES = {str(int(status)): status for status in ExitStatus}


def encoded(message: Json) -> bytes:
    """Return *message* as a line."""
    return _text(message).encode() + b"\n"


def sections(message: Json) -> Iterator[str]:
    """Yield the line of *message* in sections, one for each entry of a list in its result: there may be 100,000."""
    found = message.get("result")
    if not isinstance(found, dict):
        yield _text(message) + "\n"
        return
    yield '{"result":{'
    for number, (key, value) in enumerate(found.items()):
        yield f"{',' if number else ''}{_text(key)}:"
        if not isinstance(value, list):
            yield _text(value)
            continue
        yield "["
        for place, entry in enumerate(value):
            yield f"{',' if place else ''}{_text(entry)}"
        yield "]"
    yield "}}\n"


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def decoded(line: bytes) -> Json:
    """Return the message on *line*. UsageError for anything else."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError("not a line of JSON") from error
    if not isinstance(message, dict):
        raise UsageError("not a JSON object")
    return message


def failure(error: MountdlError) -> Json:
    """Return the answer that tells *error*."""
    return {"error": str(error), "exit_status": int(error.exit_status)}


def result(answer: Json) -> Json:
    """Return the result in *answer*. Raises the UsageError that it tells."""
    if "error" in answer:
        status = str(answer.get("exit_status"))
        raise UsageError(str(answer["error"]), _STATUSES.get(status, ExitStatus.UNKNOWN))
    found = answer.get("result")
    return found if isinstance(found, dict) else {}
