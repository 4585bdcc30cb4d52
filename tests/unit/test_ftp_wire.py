"""FTP's replies, commands and addresses: pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.sources.credentials import from_url
from mountdl.sources.ftp.address import AddressRefused, place_of
from mountdl.sources.ftp.wire import (
    MOST_LINE,
    MOST_REPLY,
    Reply,
    ReplyParser,
    WireError,
    command,
    extended_port,
    features_of,
    modified_of,
    passive_port,
    size_of,
)


def parsed(data: bytes, cut: int = 0) -> list[Reply]:
    parser = ReplyParser()
    found = []
    for part in (data[:cut], data[cut:]):
        parser.feed(part)
        while (reply := parser.next_reply()) is not None:
            found.append(reply)
    return found


def test_replies_of_one_line_and_of_many() -> None:
    """Only the code of the first line and a space end a reply of many lines."""
    said = b"220-Hello\r\n221 not yet\r\n 220 nor this\r\n220-more\r\n220 end\r\n200\r\n"
    assert [Reply(220, ("Hello", "221 not yet", " 220 nor this", "more", "end")), Reply(200, ("",))] == parsed(said)


@given(st.integers(0, 60))
def test_a_cut_changes_nothing(cut: int) -> None:
    """However the bytes arrive, the replies are the same."""
    said = b"220-Hello\r\nthere\r\n220 end\r\n229 (|||99|)\r\n226 done\n"
    assert parsed(said) == parsed(said, min(cut, len(said)))


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_bytes_are_replies_or_refused(parts: list[bytes]) -> None:
    """Whatever comes, there are replies with codes from 100 to 599, or a WireError; nothing else."""
    parser = ReplyParser()
    try:
        for part in parts:
            parser.feed(part)
            while (reply := parser.next_reply()) is not None:
                assert 100 <= reply.code < 600
                assert reply.lines
                assert reply.text.isprintable()
                assert size_of(reply) is None or reply.code == 213
    except WireError:
        pass


def test_what_does_not_end_is_refused() -> None:
    """A line, and a reply, that do not end, cost bounded memory."""
    with pytest.raises(WireError, match="line"):
        parsed(b"2" * (MOST_LINE + 1))
    with pytest.raises(WireError, match="reply"):
        parsed(b"220-a\r\n" + b"more and more\r\n" * (MOST_REPLY // 10))
    with pytest.raises(WireError, match="does not speak FTP"):
        parsed(b"SSH-2.0-OpenSSH_9.2\r\n")


def test_ports_that_servers_name() -> None:
    """229 and 227 name a port; the address of a 227 is not looked at, and what is no port is refused."""
    assert extended_port(Reply(229, ("Entering (|||6446|)",))) == 6446
    assert passive_port(Reply(227, ("Entering Passive Mode (10,9,8,7,4,1).",))) == 1025
    assert passive_port(Reply(227, ("Entering Passive Mode 0,0,0,0,255,255",))) == 65535
    for text in ("(|||0|)", "(|||70000|)", "nothing"):
        with pytest.raises(WireError):
            extended_port(Reply(229, (text,)))
    for text in ("(1,2,3,4,0,0)", "(1,2,3,4,256,1)", "(1,2,3,4)"):
        with pytest.raises(WireError):
            passive_port(Reply(227, (text,)))


def test_sizes_times_and_features() -> None:
    """213 tells sizes and times, 211 features; other replies tell none."""
    assert size_of(Reply(213, ("537",))) == 537
    assert [size_of(Reply(550, ("537",))), size_of(Reply(213, ("-1",)))] == [None, None]
    assert modified_of(Reply(213, ("20240102030405.5",))) == "20240102030405.5"
    assert modified_of(Reply(213, ("yesterday",))) is None
    assert features_of(Reply(211, ("Features", " REST STREAM", " rang STREAM", "End"))) == {"REST", "RANG"}
    assert features_of(Reply(500, ("What?",))) == frozenset()


@pytest.mark.parametrize("bad", [b"a\rb", b"a\nb", b"a\0b", b"\r\nDELE x"])
def test_a_command_is_one_command(bad: bytes) -> None:
    """CR, LF and NUL in an argument are refused before anything is sent."""
    with pytest.raises(WireError):
        command("RETR", bad)
    assert command("RETR", b"a b") == b"RETR a b\r\n"


def test_addresses() -> None:
    """Paths are relative to the login, %2F leads to the root, ;type goes; the name shows no login."""
    place = place_of("ftp://u%40x:secret%3a@h.example:2121/a%20b/%2Fc?d;type=i", from_url)
    assert place.path == b"a b//c?d"
    assert (place.login.host, place.login.port, place.login.tls) == ("h.example", 2121, False)
    assert (place.login.user, place.login.password) == (b"u@x", b"secret:")
    assert "secret" not in repr(place)
    assert place.name == "ftp://h.example:2121/a%20b/%2Fc?d;type=i"
    assert place_of("ftps://[::1]/x", from_url).login.shown == "[::1]:990"
    assert place_of("ftp://h/%2Fetc/x", from_url).path == b"/etc/x"
    assert place_of("ftp://h/x", from_url).login.user == b"anonymous"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/a%0D%0ADELE%20x",
        "ftp://h/a%00",
        "ftp://u%0a:p@h/a",
        "ftp://u:p%0d@h/a",
        "ftp://h/",
        "ftp://h",
        "ftp://h/a/",
        "ftp:///a",
        "ftp://h:99999/a",
        "http://h/a",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    """Line breaks and NULs, folders, and what is no FTP address."""
    with pytest.raises(AddressRefused):
        place_of(url, from_url)
