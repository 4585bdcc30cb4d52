"""What `mountdl inspect` shows of a metalink, value by value."""

import hashlib
import json
from collections.abc import Iterator

from mountdl.descriptors import parse
from mountdl.descriptors.report import describe, text_lines

DOCUMENT = f"""<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink">
  <origin dynamic="true">http://h.example/o.meta4</origin>
  <file name="d/a.iso">
    <size>6</size><version>2</version><language>de</language><os>Linux</os>
    <hash type="md5">{"ab" * 16}</hash><hash type="sha-256">{"cd" * 32}</hash>
    <pieces type="sha-1" length="4"><hash>{"01" * 20}</hash><hash>{"02" * 20}</hash></pieces>
    <signature mediatype="application/pgp-signature">text</signature>
    <url>http://late.example/a</url><url priority="1" location="DE">http://h.example/a</url><url>rsync://h/a</url>
    <metaurl mediatype="torrent" name="a.iso" priority="5">http://h.example/a.torrent</metaurl>
  </file>
</metalink>
"""


def test_the_whole_shape():
    """Every key of the contract, and nothing else."""
    found = describe(parse("a.meta4", DOCUMENT.encode()))
    expected = {
        "kind": "metalink4",
        "version": "4.0",
        "origin": "http://h.example/o.meta4",
        "dynamic": True,
        "files": [
            {
                "name": "d/a.iso",
                "size": 6,
                "hashes": {"md5": "ab" * 16, "sha-256": "cd" * 32},
                "strongest": "sha-256",
                "pieces": {"algo": "sha-1", "length": 4, "count": 2, "first": "01" * 20, "last": "02" * 20},
                "urls": [
                    {"url": "http://h.example/a", "priority": 1, "location": "de"},
                    {"url": "http://late.example/a", "priority": 999999, "location": None},
                ],
                "metaurls": [
                    {"url": "http://h.example/a.torrent", "mediatype": "torrent", "name": "a.iso", "priority": 5}
                ],
                "maxconnections": None,
                "languages": ["de"],
                "os": ["Linux"],
                "version": "2",
                "signature": {
                    "kind": "application/pgp-signature",
                    "text_sha256": hashlib.sha256(b"text\n").hexdigest(),
                    "name": "a.iso.sig",
                },
            }
        ],
        "warnings": [{"code": "scheme-rsync", "message": "URLs of scheme rsync are not followed", "file": "d/a.iso"}],
    }
    assert found == expected
    assert json.loads(json.dumps(found)) == expected


def test_what_is_unknown_is_null():
    text = '<metalink version="3.0" xmlns="http://www.metalinker.org/"><files><file name="a"><resources><url>http://h/</url></resources></file></files></metalink>'
    found = describe(parse("a", text.encode()))
    (file,) = found["files"]
    assert (found["kind"], found["version"], found["origin"], found["dynamic"]) == ("metalink3", "3.0", None, False)
    assert [file[key] for key in ("size", "strongest", "pieces", "maxconnections", "version", "signature")] == [
        None
    ] * 6
    assert [file[key] for key in ("hashes", "metaurls", "languages", "os")] == [{}, [], [], []]


def test_lines_for_people():
    lines = list(text_lines(parse("a.meta4", DOCUMENT.encode())))
    assert "  size: 6 bytes" in lines
    assert "  url: http://h.example/a (priority 1, de)" in lines
    assert f"  sha-256: {'cd' * 32} (strongest)" in lines
    assert lines[-1] == "warning: d/a.iso: URLs of scheme rsync are not followed [scheme-rsync]"


def test_lines_come_one_by_one():
    """100,000 files with five mirrors each are 100 MB of lines if all are built at once."""
    lines = text_lines(parse("a.meta4", DOCUMENT.encode()))
    assert isinstance(lines, Iterator)
    assert next(lines) == "kind: metalink4"


def test_lines_command_no_terminal():
    text = DOCUMENT.replace("d/a.iso", "a\u009b31m\u202eb").replace("<os>Linux", "<os>&#x9b;2J")
    assert all(line.isprintable() for line in text_lines(parse("a", text.encode())))
