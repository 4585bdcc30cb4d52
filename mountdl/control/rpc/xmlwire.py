"""XML-RPC as aria2's clients speak it: bytes to a call, and an answer to bytes. Pure.

Law: any bytes become a call or None. No DTD, hence no entity; depth and number of elements are bounded while they
come. expat below the standard library's unmarshaller: that of `xmlrpc.client` follows entities.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from mountdl.control.rpc.faults import Fault

if TYPE_CHECKING:
    from xmlrpc.client import Unmarshaller

MOST_ELEMENTS = 50_000
DEEPEST = 64
"""Open elements; a request of a client has 12."""
MOST_ATTRIBUTES = 10_000
"""Signs that only they have, but for texts: a call has none, and expat takes in those of one element in one go."""
_LARGEST = (1 << 31) - 1
# XML 1.0 section 2.2: no other control characters, and no lone surrogates.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Bounds(Exception):
    """It has more than is read."""


def read(body: bytes) -> tuple[str, list[object]] | None:
    """Return method and parameters of the call in *body*; None when it is none."""
    from xml.parsers import expat
    from xmlrpc.client import Unmarshaller

    if body.count(b"=") > MOST_ATTRIBUTES:
        return None
    target = Unmarshaller(use_builtin_types=True)
    target.xml("", None)  # expat gives text, not bytes of some encoding
    parser = expat.ParserCreate()
    parser.buffer_text = True  # else there is a call for each line of a text, a million of them
    bounds = _Bounded(target)
    parser.StartDoctypeDeclHandler = bounds.refuse
    parser.EntityDeclHandler = bounds.refuse
    parser.StartElementHandler = bounds.start
    parser.EndElementHandler = bounds.end
    parser.CharacterDataHandler = target.data
    try:
        parser.Parse(body, True)
        params, method = target.close(), target.getmethodname()
    except Exception:
        # What the unmarshaller raises for a document that is none is documented nowhere: TypeError, IndexError,
        # ValueError, binascii.Error, xmlrpc.client.Error.
        return None
    return None if not isinstance(method, str) else (method, list(params))


class _Bounded:
    """Hands elements on to *target* while there are not too many. Raises _Bounds."""

    def __init__(self, target: "Unmarshaller") -> None:
        self._target = target
        self._all = self._open = 0

    def start(self, name: str, given: dict[str, str]) -> None:
        self._all += 1
        self._open += 1
        if self._all > MOST_ELEMENTS or self._open > DEEPEST:
            raise _Bounds
        self._target.start(name, given)

    def end(self, name: str) -> None:
        self._open -= 1
        self._target.end(name)

    def refuse(self, *_: object) -> None:
        raise _Bounds


def answer(result: object) -> Iterator[str]:
    """Yield the response with *result* in sections, one for each entry of a list."""
    yield '<?xml version="1.0"?><methodResponse><params><param>'
    if isinstance(result, list):
        yield "<value><array><data>"
        for entry in result:
            yield _value(entry)
        yield "</data></array></value>"
    else:
        yield _value(result)
    yield "</param></params></methodResponse>"


def failure(fault: Fault) -> str:
    """Return the response that tells *fault*."""
    told = _value({"faultCode": fault.code, "faultString": str(fault)})
    return f'<?xml version="1.0"?><methodResponse><fault>{told}</fault></methodResponse>'


def _value(value: object) -> str:
    if isinstance(value, dict):
        members = "".join(f"<member><name>{_text(name)}</name>{_value(each)}</member>" for name, each in value.items())
        return f"<value><struct>{members}</struct></value>"
    if isinstance(value, list | tuple):
        return f"<value><array><data>{''.join(map(_value, value))}</data></array></value>"
    if isinstance(value, int):
        return f"<value><int>{max(-_LARGEST, min(int(value), _LARGEST))}</int></value>"
    return f"<value><string>{_text(value)}</string></value>"


def _text(value: object) -> str:
    return escape(_NOT_XML.sub("\ufffd", str(value)))
