"""JSON-RPC as aria2's clients speak it: bytes to calls, and answers to bytes. Pure.

Law: any bytes become calls or a `Fault`. What clients get wrong in harmless ways is passed over: the `jsonrpc` member,
`params` that are missing, an `id` of any kind. Bounded before it is parsed: a body of 2 MiB may hold a million lists.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs

from mountdl.control.rpc.faults import INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, Fault

MOST_CALLS = 500
"""Calls in one batch. webui-aria2 sends four at once."""
MOST_VALUES = 50_000
"""Members, values and brackets of a request, counted by their signs: parsing that many takes some 5 ms."""
LONGEST_NUMBER = 100
"""Digits."""
_CALLBACK = re.compile(r"[A-Za-z_$][\w$.]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Call:
    """One call; *number* is the `id`, to be given back as it came."""

    number: object
    method: str
    params: list[object]


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that is none, and why."""

    number: object
    fault: Fault


def read(body: bytes) -> object:
    """Return the value in *body*. Raises Fault."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MOST_VALUES:
        raise Fault(f"Parse error: more than {MOST_VALUES} values.", PARSE_ERROR, 500)
    try:
        return json.loads(body, parse_int=_whole, parse_float=_number, parse_constant=_number)
    except (ValueError, RecursionError):
        raise Fault("Parse error.", PARSE_ERROR, 500) from None


def _whole(text: str) -> int:
    # What takes a number of 4000 digits apart takes 50 us; nobody means one.
    if len(text) > LONGEST_NUMBER:
        raise ValueError
    return int(text)


def _number(text: str) -> float:
    """Return the number *text*. Raises ValueError for what is none in JSON: it would come back in an answer."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def calls(value: object) -> list[Call | Refused] | Call | Refused:
    """Return the call or the batch of calls that *value* is. Raises Fault when it is neither.

    What in a batch is no object is passed over, and a number is told apart from a text, as aria2 does.
    """
    if isinstance(value, list):
        if len(value) > MOST_CALLS:
            raise Fault(f"Invalid Request: more than {MOST_CALLS} at once.", INVALID_REQUEST)
        return [_call(each) for each in value if isinstance(each, dict)]
    if isinstance(value, dict):
        return _call(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Fault("Parse error.", PARSE_ERROR, 500)
    raise Fault("Invalid Request.", INVALID_REQUEST)


def _call(value: dict[str, object]) -> Call | Refused:
    number, method = value.get("id"), value.get("method")
    if isinstance(number, list | dict):
        number = None
    if "id" not in value or not isinstance(method, str):
        return Refused(number, Fault("Invalid Request.", INVALID_REQUEST))
    params = value.get("params")
    if params is None:
        params = []
    if not isinstance(params, list):
        return Refused(number, Fault("Invalid params.", INVALID_PARAMS, 500))
    return Call(number, method, params)


def from_query(query: str) -> tuple[object, str | None]:
    """Return the value that the query of a GET stands for, and the name of the JSONP callback. Raises Fault."""
    try:
        given = {name: values[-1] for name, values in parse_qs(query, max_num_fields=20).items()}
    except ValueError:
        raise Fault("Invalid Request.", INVALID_REQUEST) from None
    callback = given.get("jsoncallback")
    if callback is not None and _CALLBACK.fullmatch(callback) is None:
        raise Fault("Invalid Request.", INVALID_REQUEST)
    params = _decoded(given["params"]) if "params" in given else None
    if "method" not in given and "id" not in given:
        if not isinstance(params, list):
            raise Fault("Invalid Request.", INVALID_REQUEST)
        return params, callback
    value: dict[str, object] = {name: given[name] for name in ("id", "method") if name in given}
    return (value if params is None else {**value, "params": params}), callback


def _decoded(text: str) -> object:
    # A "+" of base64 that nobody escaped came through the query as a blank.
    try:
        return read(base64.b64decode(text.replace(" ", "+"), validate=True))
    except (binascii.Error, ValueError, Fault):
        raise Fault("Invalid Request.", INVALID_REQUEST) from None


def answer(number: object, result: object) -> Iterator[str]:
    """Yield the answer to the call *number* in sections, one for each entry of a list: there may be a thousand."""
    yield f'{{"id":{_text(number)},"jsonrpc":"2.0","result":'
    if isinstance(result, list):
        yield "["
        for place, entry in enumerate(result):
            yield f"{',' if place else ''}{_text(entry)}"
        yield "]}"
    else:
        yield f"{_text(result)}}}"


def failure(number: object, fault: Fault) -> str:
    """Return the answer that tells *fault*."""
    return _text({"id": number, "jsonrpc": "2.0", "error": {"code": fault.code, "message": str(fault)}})


def notice(event: str, gid: str) -> str:
    """Return the notification that *event* happened to *gid*."""
    return _text({"jsonrpc": "2.0", "method": f"aria2.{event}", "params": [{"gid": gid}]})


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
