"""What a client is told when its request can't be answered."""

PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS = -32700, -32600, -32602
"""Codes of JSON-RPC 2.0, section 5.1, that aria2 uses too."""
FAILED = 1
"""aria2's code for everything else, an unknown method too."""


class Fault(Exception):
    """An answer that is no result: *code* and the text as clients know them, *status* that of HTTP."""

    def __init__(self, message: str, code: int = FAILED, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class Unauthorized(Fault):
    """A token is missing or wrong. Clients look for exactly this text."""

    def __init__(self) -> None:
        super().__init__("Unauthorized")
