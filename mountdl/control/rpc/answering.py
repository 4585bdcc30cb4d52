"""From the bytes of a request to those of its answer: tokens, batches, and what becomes of a defect.

Law: whatever is asked, there is an answer. A wrong token costs who sent it `DELAY`, and nobody else anything.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import trio

from mountdl.control.rpc import jsonwire, xmlwire
from mountdl.control.rpc.access import Gate
from mountdl.control.rpc.board import Board
from mountdl.control.rpc.faults import FAILED, INVALID_REQUEST, Fault
from mountdl.control.rpc.jsonwire import Call, Refused
from mountdl.control.rpc.methods import MULTICALL, OPEN, dispatch
from mountdl.control.rpc.working import worked

log = logging.getLogger(__name__)

T = TypeVar("T")

DELAY = 1.0
"""Seconds that an answer to a wrong token takes."""
_LARGE = 64 << 10
"""Bytes of a request from which on it is parsed by a thread: of 2 MiB that takes 5 ms."""
_A_TURN = 50
"""Sections of an answer that are written before readers get a turn: some 2 ms."""
MOST_ROWS = 20_000
"""Rows that the calls of one request tell of, and a last one: each takes 3 KB until it is sent."""
MOST_BYTES = 16 << 20
"""Bytes of the answers to one batch, and a last one."""
_TOO_MUCH = {"code": FAILED, "message": "the calls before this one had too much to tell: ask for less at once"}
_JSON, _XML = "application/json-rpc", "text/xml"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status of HTTP and a *body* of *kind*."""

    status: int
    body: bytes
    kind: str = _JSON


async def ask(board: Board, gate: Gate, method: str, params: list[object]) -> object:
    """Return what *method* answers to who stands at *gate*. Raises Fault."""
    await trio.lowlevel.checkpoint()  # between the calls of a batch, few of which wait for anything
    if method == MULTICALL:
        return await _several(board, gate, params)
    try:
        if method not in OPEN:
            params = gate.pass_through(params)
        return await dispatch(method, params, board)
    except Fault:
        raise
    except Exception:
        log.exception("RPC: a defect of mountdl")
        raise Fault("a defect of mountdl; its log has the details") from None


async def _several(board: Board, gate: Gate, params: list[object]) -> list[object]:
    entries = params[0] if params else None
    if not isinstance(entries, list):
        raise Fault(
            "The parameter at 0 is required but missing." if not params else "The parameter at 0 has wrong type."
        )
    if len(entries) > jsonwire.MOST_CALLS:
        raise Fault(f"system.multicall takes {jsonwire.MOST_CALLS} calls at most")
    answers, spent = [], 0
    for each in entries:
        answer = await _one(board, gate, each) if spent <= MOST_ROWS else _TOO_MUCH
        answers.append(answer)
        if isinstance(answer, list) and isinstance(answer[0], list):
            spent += len(answer[0])
    return answers


async def _one(board: Board, gate: Gate, entry: object) -> object:
    try:
        if not isinstance(entry, dict) or not isinstance(entry.get("methodName"), str):
            raise Fault("system.multicall expected struct.")
        if entry["methodName"] == MULTICALL:
            raise Fault("Recursive system.multicall forbidden.")
        params = entry.get("params")
        return [await ask(board, gate, entry["methodName"], params if isinstance(params, list) else [])]
    except Fault as fault:
        return {"code": fault.code, "message": str(fault)}


async def of_json(board: Board, gate: Gate, body: bytes) -> Answer:
    """Return the answer to the request *body* of JSON-RPC."""
    try:
        value = await _read(board, jsonwire.read, body)
    except Fault as fault:
        return Answer(fault.status, jsonwire.failure(None, fault).encode())
    return await of_value(board, gate, value)


async def of_value(board: Board, gate: Gate, value: object) -> Answer:
    """Return the answer to the request *value* of JSON-RPC."""
    try:
        found = jsonwire.calls(value)
    except Fault as fault:
        return Answer(fault.status, jsonwire.failure(None, fault).encode())
    if not isinstance(found, list):
        return await _delayed(gate, await _answer(board, gate, found))
    bodies, spent = [], 0
    for each in found:
        bodies.append((await _answer(board, gate, each) if spent <= MOST_BYTES else _refused(each)).body)
        spent += len(bodies[-1])
    return await _delayed(gate, Answer(200, b"[" + b",".join(bodies) + b"]"))


def _refused(call: Call | Refused) -> Answer:
    return Answer(400, jsonwire.failure(call.number, Fault(str(_TOO_MUCH["message"]))).encode())


async def _answer(board: Board, gate: Gate, call: Call | Refused) -> Answer:
    if isinstance(call, Refused):
        return Answer(call.fault.status, jsonwire.failure(call.number, call.fault).encode())
    try:
        result = await ask(board, gate, call.method, call.params)
    except Fault as fault:
        return Answer(fault.status, jsonwire.failure(call.number, fault).encode())
    return Answer(200, await _in_turns(jsonwire.answer(call.number, result)))


async def of_query(board: Board, gate: Gate, query: str) -> Answer:
    """Return the answer to a GET with *query*."""
    try:
        value, callback = jsonwire.from_query(query)
    except Fault as fault:
        return Answer(400, jsonwire.failure(None, fault).encode())
    if not isinstance(value, list | dict):
        return Answer(400, jsonwire.failure(None, Fault("Invalid Request.", INVALID_REQUEST)).encode())
    answer = await of_value(board, gate, value)
    if callback is None:
        return answer
    # The empty comment: what a browser is led to take for another kind of file must not begin as the callback likes.
    return Answer(answer.status, b"/**/" + callback.encode() + b"(" + answer.body + b")", "text/javascript")


async def of_xml(board: Board, gate: Gate, body: bytes) -> Answer:
    """Return the answer to the request *body* of XML-RPC."""
    call = await _read(board, xmlwire.read, body)
    if call is None:
        return Answer(400, b"", _XML)
    try:
        result = await ask(board, gate, *call)
    except Fault as fault:
        return await _delayed(gate, Answer(200, xmlwire.failure(fault).encode(), _XML))
    return await _delayed(gate, Answer(200, await _in_turns(xmlwire.answer(result)), _XML))


async def _delayed(gate: Gate, answer: Answer) -> Answer:
    if gate.barred:
        await trio.sleep(DELAY)
        gate.barred = False
    return answer


async def _read(board: Board, read: Callable[[bytes], T], body: bytes) -> T:
    return read(body) if len(body) <= _LARGE else await worked(partial(read, body), board.threads)


async def _in_turns(sections: Iterable[str]) -> bytes:
    found = []
    for number, section in enumerate(sections):
        if number % _A_TURN == 0:
            await trio.lowlevel.checkpoint()
        found.append(section)
    return "".join(found).encode(errors="replace")
