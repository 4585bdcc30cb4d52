"""JSON-RPC and XML-RPC as clients send them: bytes to calls, and answers to bytes."""

import base64
import json
import xmlrpc.client
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.control.rpc import jsonwire, xmlwire
from mountdl.control.rpc.faults import Fault
from mountdl.control.rpc.jsonwire import Call, Refused

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"jsonrpc":"2.0","id":"a","method":"m","params":[1]}', Call("a", "m", [1])),
        ('{"json-rpc":"2.0","id":7,"method":"m"}', Call(7, "m", [])),
        ('{"jsonrpc":2.0,"id":0,"method":"m","params":null}', Call(0, "m", [])),
        ('{"id":null,"method":"m"}', Call(None, "m", [])),
    ],
)
def test_what_clients_get_wrong_is_passed_over(body: str, expected: Call) -> None:
    """The member "jsonrpc" may be anything, parameters may be missing, and an id comes back as it was."""
    assert jsonwire.calls(jsonwire.read(body.encode())) == expected


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        ('{"method":"m"}', -32600, 400),
        ('{"id":1}', -32600, 400),
        ('{"id":1,"method":2}', -32600, 400),
        ('{"id":1,"method":"m","params":{"a":1}}', -32602, 500),
        ("3", -32700, 500),
        ("null", -32600, 400),
        ('"x"', -32600, 400),
        ("{", -32700, 500),
        ("[" * 40_000, -32700, 500),
        ("[" + "1," * 50_000 + "1]", -32700, 500),
        ("[" + "{}," * 500 + "{}]", -32600, 400),
        ("\xff", -32700, 500),
    ],
)
def test_what_is_no_call(body: str, code: int, status: int) -> None:
    """Codes and statuses are aria2's; what is too much is refused before it is parsed."""
    try:
        found = jsonwire.calls(jsonwire.read(body.encode("latin-1")))
        assert isinstance(found, Refused)
        fault = found.fault
    except Fault as caught:
        fault = caught

    assert (fault.code, fault.status) == (code, status)


@given(VALUES)
def test_any_value_is_a_call_or_refused(value: object) -> None:
    """Nothing else comes out, and nothing is raised but a fault."""
    try:
        found = jsonwire.calls(jsonwire.read(json.dumps(value).encode()))
    except Fault:
        return
    for each in found if isinstance(found, list) else [found]:
        assert isinstance(each, Call | Refused)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_call_or_none(body: bytes) -> None:
    """Whatever comes, in either form."""
    xmlwire.read(body)
    try:
        jsonwire.read(body)
    except Fault:
        return


@given(VALUES)
def test_answers_are_json(value: object) -> None:
    """What is written in sections is read back the same."""
    told = json.loads("".join(jsonwire.answer(3, value)))

    assert told == {"id": 3, "jsonrpc": "2.0", "result": value}


def test_what_is_no_object_in_a_batch_is_passed_over() -> None:
    """As aria2 does."""
    assert jsonwire.calls([3, {"id": 1, "method": "m"}, None, []]) == [Call(1, "m", [])]


def test_get() -> None:
    """Parameters are Base64 of a list, by whoever escaped it or not; without a method they are a batch."""
    params = base64.b64encode(b'["token:\xc3\xbf>"]').decode()

    assert jsonwire.from_query(f"method=m&id=1&params={quote(params)}&jsonrpc=2.0") == (
        {"method": "m", "id": "1", "params": ["token:ÿ>"]},
        None,
    )
    assert jsonwire.from_query(f"params={params}") == (["token:ÿ>"], None)
    assert jsonwire.from_query("method=m&id=1&jsoncallback=a.b_1")[1] == "a.b_1"


@pytest.mark.parametrize(
    "query", ["", "params=!", "params=MQ==", "method=m&id=1&jsoncallback=alert(1)", "jsoncallback=", "&" * 3000]
)
def test_bad_queries(query: str) -> None:
    """A callback that is more than a name is refused like the rest."""
    if query == "jsoncallback=":
        query += "%3Cscript%3E"
    with pytest.raises(Fault):
        jsonwire.from_query(query)


def test_xml_call() -> None:
    """What Python's client and Persepolis send: binary, nil, numbers and truths."""
    body = xmlrpc.client.dumps(
        (["u"], {"split": 4, "out": None, "b": True}, xmlrpc.client.Binary(b"\0d")), "aria2.addUri", allow_none=True
    )

    assert xmlwire.read(body.encode()) == ("aria2.addUri", [["u"], {"split": 4, "out": None, "b": True}, b"\0d"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<",
        b"<a/>",
        b'<!DOCTYPE a [<!ENTITY b "ha">]><methodCall><methodName>m</methodName></methodCall>',
        b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><methodCall><methodName>m</methodName></methodCall>',
        b"<methodCall><methodName>m</methodName><params><param>" + b"<value><array><data>" * 100,
        b"<methodCall>" + b"<a/>" * 60_000 + b"</methodCall>",
        b"<methodCall><methodName>m</methodName><params><param><value><int>x</int></value></param></params></methodCall>",
        b"<methodCall><methodName>m</methodName><params><param><value><base64>!</base64></value></param>",
    ],
)
def test_what_is_no_xml_call(body: bytes) -> None:
    """No document type, hence no entities; depth and number are bounded."""
    assert xmlwire.read(body) is None


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_xml_answers(value: object) -> None:
    """Python's client reads what is written: texts, lists and structs, whatever signs a name has."""
    text = "".join(xmlwire.answer(value)).encode()

    (told,), _ = xmlrpc.client.loads(text)
    assert _plain(value) == _plain(told)


def _plain(value: object) -> object:
    """Return *value* as XML can carry it: without control characters, lines ending in one way."""
    if isinstance(value, dict):
        return {_plain(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    text = str(value).replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        c if c in "\t\n" or (" " <= c and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff") else "\ufffd"
        for c in text
    )


def test_xml_numbers_and_faults() -> None:
    """A number that XML-RPC can't carry is the greatest; a fault has aria2's code."""
    (told,), _ = xmlrpc.client.loads("".join(xmlwire.answer(1 << 40)))
    assert told == (1 << 31) - 1
    with pytest.raises(xmlrpc.client.Fault) as caught:
        xmlrpc.client.loads(xmlwire.failure(Fault("a < b")))
    assert (caught.value.faultCode, caught.value.faultString) == (1, "a < b")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 101, "-1e999"])
def test_a_number_that_json_has_not(number: str) -> None:
    """An `id` comes back in the answer, which others have to read."""
    with pytest.raises(Fault, match="Parse error"):
        jsonwire.read(f'{{"id":{number}}}'.encode())


def test_what_takes_long_to_read_is_not_read() -> None:
    """A million lines are one text, and attributes, which a call has not, are refused before they are taken in."""
    text = "\n" * 1_000_000
    body = f"<methodCall><methodName>m</methodName><params><param><value>{text}</value></param></params></methodCall>"
    assert xmlwire.read(body.encode()) == ("m", [text])
    attributes = " ".join(f"a{number}='x'" for number in range(20_000))
    assert xmlwire.read(f"<methodCall {attributes}><methodName>m</methodName></methodCall>".encode()) is None
