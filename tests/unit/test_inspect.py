"""`mountdl inspect`: the promised shapes for every kind, no network, bounded time and memory."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mountdl.control.cli import Jobs, main
from mountdl.errors import ExitStatus
from tests.support import torrents

SHA1, SHA256 = bytes(range(20)), bytes(range(32))
TREE = bytes(24)
METALINK4 = f"""<metalink xmlns="urn:ietf:params:xml:ns:metalink"><origin dynamic="true">http://o/x.meta4</origin>
<file name="a/b.iso"><size>5</size><version>1.2</version><language>de</language><os>Linux</os>
<hash type="sha-256">{SHA256.hex()}</hash><hash type="crc32">00000000</hash>
<pieces type="sha-1" length="3"><hash>{SHA1.hex()}</hash><hash>{SHA1[::-1].hex()}</hash></pieces>
<url location="DE" priority="2">http://two/b.iso</url><url priority="1">http://one/b.iso</url><url>relative</url>
<metaurl mediatype="torrent" name="b.iso" priority="3">http://one/b.torrent</metaurl>
<signature mediatype="application/pgp-signature">-----BEGIN PGP SIGNATURE-----</signature></file></metalink>"""
METALINK3 = f"""<metalink version="3.0" xmlns="http://www.metalinker.org/"><files><file name="b.iso"><verification>
<hash type="sha1">{SHA1.hex()}</hash></verification><resources maxconnections="2">
<url type="http" preference="90">http://one/b.iso</url></resources></file></files></metalink>"""
MAGNET = (
    f"magnet:?xt=urn:btih:{SHA1.hex()}&xt=urn:btmh:1220{SHA256.hex()}&dn=film&xl=5&tr=http://t/a&ws=http://w/f"
    f"&xs=http://x/f.torrent&as=http://s/f&x.pe=1.2.3.4:5&so=0,2-3&xt=urn:tree:tiger:{TREE.hex()}"
)
HEAD = (
    f"HTTP/1.1 302 Found\r\nLocation: http://one/f\r\nDigest: SHA-256={base64.b64encode(SHA256).decode()}\r\n"
    "Link: <http://two/f>; rel=duplicate; pri=2; geo=fr; depth=1, <http://one/f>; rel=duplicate; pref\r\n"
    "Link: </f.meta4>; rel=describedby; type=application/metalink4+xml\r\n\r\n"
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _unused(*_: Any) -> Any:
    raise AssertionError("no mount is wanted")


JOBS = Jobs(_unused, _unused, _unused)


@pytest.fixture
def inspected(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[dict[str, Any]]]:
    """Return the documents of `mountdl inspect --json ARGUMENTS`, which must end with *status*."""

    def run(*arguments: str, status: int = 0) -> list[dict[str, Any]]:
        assert main(["inspect", "--json", *arguments], JOBS) == status
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["documents"]
        return found

    return run


Inspected = Callable[..., list[dict[str, Any]]]


def test_metalink_4(inspected: Inspected) -> None:
    Path("x.meta4").write_text(METALINK4)

    assert inspected("x.meta4") == [
        {
            "path": "x.meta4",
            "kind": "metalink4",
            "version": "4.0",
            "origin": "http://o/x.meta4",
            "dynamic": True,
            "files": [
                {
                    "name": "a/b.iso",
                    "size": 5,
                    "hashes": {"sha-256": SHA256.hex(), "crc32": "00000000"},
                    "strongest": "sha-256",
                    "pieces": {"algo": "sha-1", "length": 3, "count": 2, "first": SHA1.hex(), "last": SHA1[::-1].hex()},
                    "urls": [
                        {"url": "http://one/b.iso", "priority": 1, "location": None},
                        {"url": "http://two/b.iso", "priority": 2, "location": "de"},
                    ],
                    "metaurls": [
                        {"url": "http://one/b.torrent", "mediatype": "torrent", "name": "b.iso", "priority": 3}
                    ],
                    "maxconnections": None,
                    "languages": ["de"],
                    "os": ["Linux"],
                    "version": "1.2",
                    "signature": {
                        "kind": "application/pgp-signature",
                        "text_sha256": hashlib.sha256(b"-----BEGIN PGP SIGNATURE-----\n").hexdigest(),
                        "name": "b.iso.asc",
                    },
                }
            ],
            "warnings": [
                {
                    "code": "relative-url",
                    "message": "a URL is relative and there is no base URL",
                    "file": "a/b.iso",
                }
            ],
        }
    ]


def test_options_of_choice(inspected: Inspected) -> None:
    """A base for relative URLs, countries that come first, languages that others are hidden for."""
    Path("x.meta4").write_text(METALINK4)
    [found] = inspected("--base-url", "http://base/dir/", "--location", "de", "--language", "de,en", "x.meta4")
    urls = [each["url"] for each in found["files"][0]["urls"]]
    assert urls == ["http://two/b.iso", "http://one/b.iso", "http://base/dir/relative"]
    [found] = inspected("--language", "fr", "x.meta4")
    assert found["files"] == []
    assert "not-preferred" in [each["code"] for each in found["warnings"]]


def test_metalink_3(inspected: Inspected) -> None:
    Path("x.metalink").write_text(METALINK3)
    [found] = inspected("x.metalink")
    [file] = found["files"]

    assert (found["kind"], found["version"], found["origin"], found["dynamic"]) == ("metalink3", "3.0", None, False)
    assert (file["size"], file["hashes"], file["maxconnections"]) == (None, {"sha-1": SHA1.hex()}, 2)
    assert file["urls"] == [{"url": "http://one/b.iso", "priority": 11, "location": None}]


def test_a_magnet_link_is_inspected_as_it_is(inspected: Inspected) -> None:
    """People have it in the clipboard, not in a file."""
    Path("x.magnet").write_text(MAGNET)
    [in_a_file], [as_it_is] = inspected("x.magnet"), inspected(MAGNET)

    assert as_it_is == {**in_a_file, "path": MAGNET}
    assert inspected("magnet:?dn=x", status=27)[0]["error"]["kind"] == "no-usable-topic"


def test_a_url_is_not_fetched_and_told_so(inspected: Inspected) -> None:
    [found] = inspected("http://h/x.meta4", status=3)

    assert found["error"]["kind"] == "not-found"
    assert "inspect touches no network: save what is there" in found["error"]["message"]


def test_magnets(inspected: Inspected) -> None:
    Path("x.magnet").write_text(MAGNET)
    [found] = inspected("x.magnet")

    assert found == {
        "path": "x.magnet",
        "kind": "magnet",
        "entries": [
            {
                "name": "film",
                "size": 5,
                "btih": SHA1.hex(),
                "btmh": SHA256.hex(),
                "hashes": {"tth": TREE.hex()},
                "trackers": ["http://t/a"],
                "webseeds": ["http://w/f"],
                "sources": ["http://s/f"],
                "torrent_urls": ["http://x/f.torrent"],
                "peers": ["1.2.3.4:5"],
                "select": [0, 2, 3],
                "btpk": None,
                "salt": None,
                "verify": "pieces",
            }
        ],
        "warnings": [],
    }


def test_torrents(inspected: Inspected) -> None:
    files = {"a/b": b"12345", ".pad/3": b"\0" * 3, "c": b"67"}
    info = torrents.several(files)
    raw = torrents.torrent(info, announce="http://t/a", url_list=["http://w/"])
    Path("x.torrent").write_bytes(raw)

    assert inspected("x.torrent") == [
        {
            "path": "x.torrent",
            "kind": "torrent",
            "info_hash": {"v1": hashlib.sha1(torrents.encode(torrents.tidy(info))).hexdigest(), "v2": None},
            "files": [{"path": "top/a/b", "size": 5, "offset": 0}, {"path": "top/c", "size": 2, "offset": 8}],
            "piece_length": 4,
            "piece_count": 3,
            "trackers": [["http://t/a"]],
            "private": False,
            "webseed_urls": {"top/a/b": ["http://w/top/a/b"], "top/c": ["http://w/top/c"]},
            "warnings": [],
        }
    ]


@pytest.mark.parametrize("name", ["x.uris", "x.txt"])
def test_lists(inspected: Inspected, name: str) -> None:
    """Aria2's input-file form, patterns included."""
    Path(name).write_text(
        "http://{a,b}/f[1-2].bin\n  max-connection-per-server=2\n# no\nhttp://c/g\thttp://d/g\n out=h\n header=A: 1\n header=B: 2\n"
    )

    assert inspected(name) == [
        {
            "path": name,
            "kind": "urilist",
            "entries": [
                {"urls": ["http://a/f1.bin", "http://b/f1.bin"], "options": {"max-connection-per-server": "2"}},
                {"urls": ["http://a/f2.bin", "http://b/f2.bin"], "options": {"max-connection-per-server": "2"}},
                {"urls": ["http://c/g", "http://d/g"], "options": {"out": "h", "header": ["A: 1", "B: 2"]}},
            ],
            "warnings": [],
        }
    ]


@pytest.mark.parametrize(
    ("name", "head"), [("x.url", "[InternetShortcut]\r\n"), ("x.desktop", "[Desktop Entry]\nType=Link\n")]
)
def test_shortcuts(inspected: Inspected, name: str, head: str) -> None:
    Path(name).write_text(f"{head}URL=http://h/a{{b}}[1-2].bin\n")
    [found] = inspected(name)

    assert (found["kind"], found["entries"]) == ("urilist", [{"urls": ["http://h/a{b}[1-2].bin"], "options": {}}])


def test_links(inspected: Inspected) -> None:
    """An argument that is a link is no file."""
    [found] = inspected("http://h/f#!metalink3!http://h/f.meta4")

    assert (found["kind"], found["url"], found["metalink"]) == ("link", "http://h/f", "http://h/f.meta4")


def test_heads_of_answers(inspected: Inspected) -> None:
    Path("head").write_text(HEAD, newline="")

    assert inspected("--headers", "head", "--url", "http://u/d/f") == [
        {
            "path": "head",
            "kind": "headers",
            "digests": {"sha-256": SHA256.hex()},
            "duplicates": [
                {"url": "http://one/f", "priority": 999999, "location": None, "pref": True, "depth": None},
                {"url": "http://two/f", "priority": 2, "location": "fr", "pref": False, "depth": 1},
            ],
            "describedby": [{"url": "http://u/f.meta4", "type": "application/metalink4+xml"}],
            "warnings": [],
        }
    ]


@pytest.mark.parametrize(
    ("name", "data", "kind", "status"),
    [
        ("a.meta4", b"", "empty", 20),
        ("a.meta4", METALINK4[:200].encode(), "not-well-formed", 20),
        ("a.meta4", b"<!DOCTYPE a><a/>", "forbidden-dtd", 20),
        ("a.meta4", b"<?xml version='1.0' encoding='no'?><a/>", "unsupported-encoding", 20),
        ("a.meta4", b"<rss/>", "not-metalink", 20),
        ("a.meta4", b"\x1f\x8b\x08", "not-metalink", 20),
        ("a.meta4", b'<metalink xmlns="urn:ietf:params:xml:ns:metalink"/>', "no-files", 20),
        ("a.magnet", b"", "empty", 27),
        ("a.magnet", b"hello", "not-a-magnet", 27),
        ("a.magnet", b"magnet:?dn=x", "no-usable-topic", 27),
        ("a.magnet", b"magnet:?xt=urn:btih:00", "bad-urn", 27),
        ("a.magnet", b"magnet:?xt=urn:kzhash:00", "unsupported", 27),
        ("a.magnet", f"magnet:?xt=urn:md5:{'0' * 32}".encode(), "no-sources", 27),
        ("a.magnet", f"magnet:?xt=urn:md5:{'0' * 32}&xl=1&xl=2&as=http://h/x".encode(), "conflict", 27),
        ("a.torrent", b"", "empty", 26),
        ("a.torrent", b"le", "bad-torrent", 26),
        ("a.torrent", b"d4:info", "bad-bencode", 26),
        ("a.torrent", b"de", "missing-info", 26),
        ("a.torrent", b"d4:infod4:name1:aee", "bad-piece-length", 26),
        ("a.torrent", b"d4:infod12:piece lengthi4eee", "missing-name", 26),
        ("a.torrent", b"d4:infod6:lengthi1e4:name1:a12:piece lengthi4eee", "missing-pieces", 26),
        ("a.torrent", b"d4:infod6:lengthi9e4:name1:a12:piece lengthi4e6:pieces0:ee", "pieces-mismatch", 26),
        ("a.torrent", b"d4:infod6:lengthi-1e4:name1:a12:piece lengthi4e6:pieces0:ee", "bad-size", 26),
        ("a.torrent", b"d4:infod12:meta versioni3e4:name1:a12:piece lengthi4eee", "unsupported-version", 26),
        ("a.uris", b"", "empty", 20),
        ("a.uris", b"gopher://h/\n", "no-sources", 20),
        ("a.url", b"[InternetShortcut]\n", "no-sources", 20),
        ("a.magnet", b"\xff\xfea", "bad-encoding", 27),
    ],
)
def test_errors_have_kinds_and_statuses(inspected: Inspected, name: str, data: bytes, kind: str, status: int) -> None:
    """Those that the interface names, with aria2's exit statuses; other files are told of all the same."""
    Path(name).write_bytes(data)
    Path("good.metalink").write_text(METALINK3)
    bad, good = inspected(name, "good.metalink", status=status)

    assert bad["path"] == name
    assert bad["error"]["kind"] == kind
    assert bad["error"]["message"]
    assert good["kind"] == "metalink3"


def test_what_is_no_file(inspected: Inspected, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends in a sentence and a status, never in a traceback."""
    assert inspected("nowhere", status=ExitStatus.NOT_FOUND)[0]["error"]["kind"] == "not-found"
    assert inspected(".", status=ExitStatus.IO)[0]["error"]["kind"] == "unreadable"
    assert inspected("http://h/f#!metalink3!file:///x", status=20)[0]["error"]["kind"] == "bad-link"
    for arguments in ([], ["--headers", "x"], ["--url", "http://h/"], ["--headers", "x", "--url", "nonsense"]):
        assert main(["inspect", *arguments], JOBS) == ExitStatus.BAD_OPTION
        assert capsys.readouterr().err.startswith("mountdl: ")


def test_options_of_a_list_that_only_a_mount_has(capsys: pytest.CaptureFixture[str]) -> None:
    """Who gave aria2 a login for a server in the list is told where it belongs, and it is not shown."""
    Path("x.uris").write_text("http://h/x\n header=Cookie: hush\n gid=1\nhttp://h/y\n http-passwd=hush\n header=A: b\n")

    assert main(["inspect", "x.uris"], JOBS) == 0
    said = capsys.readouterr().out
    assert "not used: header, http-passwd; give these to mountdl as options\n" in said
    assert "hush" not in said


def test_text_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Every kind says the same in words; nothing in it can command a terminal."""
    samples = {
        "a.meta4": METALINK4,
        "b.metalink": METALINK3,
        "c.magnet": MAGNET,
        "d.uris": "http://h/\x1b[31mx\n http://g\n",
    }
    for name, text in samples.items():
        Path(name).write_text(text)
    Path("e.torrent").write_bytes(torrents.torrent(torrents.single(b"12345"), announce="http://t/a"))
    Path("f").write_text(HEAD)
    arguments = ["--headers", "f", "--url", "http://u/f", *samples, "e.torrent", "http://h/f#!metalink3!http://h/m"]

    assert main(["inspect", *arguments], JOBS) in {0, 20}
    said = capsys.readouterr().out
    for expected in (
        "kind: metalink4",
        "kind: metalink3",
        "kind: magnet",
        "kind: torrent",
        "kind: link",
        "kind: headers",
    ):
        assert expected in said
    for expected in (
        f"sha-256: {SHA256.hex()} (strongest)",
        "duplicate: http://two/f",
        "btih: ",
        "tracker: http://t/a",
    ):
        assert expected in said
    assert "\x1b" not in said


def test_no_network_is_touched() -> None:
    """With sockets forbidden, every kind is read as without; URLs in it are never asked."""
    Path("x.meta4").write_text(METALINK4)
    Path("x.magnet").write_text(MAGNET)
    Path("x.uris").write_text("http://h/f\n")
    Path("x.torrent").write_bytes(
        torrents.torrent(torrents.single(b"12345"), announce="http://t/a", url_list="http://w/")
    )
    Path("head").write_text(HEAD)
    program = textwrap.dedent("""
        import sys
        def forbid(event, arguments):
            if event.startswith("socket."):
                raise SystemExit(f"{event} {arguments}")
        sys.addaudithook(forbid)
        from mountdl.control.cli import Jobs, main
        sys.exit(main(sys.argv[1:], Jobs(None, None, None)))
    """)
    arguments = [
        "inspect",
        "--json",
        "--headers",
        "head",
        "--url",
        "http://u/f",
        "x.meta4",
        "x.magnet",
        "x.uris",
        "x.torrent",
    ]
    link = "http://h/f#!metalink3!http://h/f.meta4"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, link], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["documents"]) == 6


# Limits


def million_pieces_4() -> Iterator[str]:
    yield f'<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="x"><size>{1_000_000 * 16384}</size>'
    yield '<pieces type="sha-256" length="16384">'
    yield from (f"<hash>{number:064x}</hash>" for number in range(1_000_000))
    yield "</pieces><url>http://h/x</url></file></metalink>"


def million_pieces_3() -> Iterator[str]:
    yield '<metalink version="3.0" xmlns="http://www.metalinker.org/"><files><file name="x"><verification>'
    yield '<pieces type="sha1" length="16384">'
    yield from (f'<hash piece="{number}">{number:040x}</hash>' for number in reversed(range(1_000_000)))
    yield "</pieces></verification><resources><url>http://h/x</url></resources></file></files></metalink>"


def million_pieces_torrent() -> Iterator[str]:
    size = 1_000_000 * 16384
    yield f"d4:infod6:lengthi{size}e4:name1:x12:piece lengthi16384e6:pieces20000000:{'0' * 20_000_000}ee"


def many_urls() -> Iterator[str]:
    yield '<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="x">'
    yield from (f"<url priority='{number % 100 + 1}'> http://h{number}.example/x </url>" for number in range(100_000))
    yield "</file></metalink>"


def many_files() -> Iterator[str]:
    yield '<metalink xmlns="urn:ietf:params:xml:ns:metalink">'
    yield from (f"<file name='d{n % 9}/{n}'><url>http://h/{n}</url></file>" for n in range(100_000))
    yield "</metalink>"


def deep_xml() -> Iterator[str]:
    yield '<metalink xmlns="urn:ietf:params:xml:ns:metalink">' + "<a>" * 100_000 + "</a>" * 100_000 + "</metalink>"


LIMITS = {
    "million.meta4": (million_pieces_4, None),
    "million.metalink": (million_pieces_3, None),
    "million.torrent": (million_pieces_torrent, None),
    "urls.meta4": (many_urls, None),
    "files.meta4": (many_files, None),
    "urls.uris": (lambda: (f"http://h{n}.example/x{n}\n" for n in range(100_000)), None),
    "one-line.uris": (lambda: (f"http://h{n}.example/x\t" for n in range(100_000)), None),
    "pattern.uris": (lambda: iter(["http://h/[0-99999]\n"]), "no-sources"),
    "patterns.uris": (lambda: ("http://h/[1-10000].bin\n" for _ in range(3000)), None),
    "long-patterns.uris": (lambda: (f"http://h/[1-10000].bin?{'x' * 5000}\n" for _ in range(100)), "no-sources"),
    "sources.magnet": (
        lambda: iter(["magnet:?xt=urn:md5:" + "0" * 32, *(f"&as=http://h{n}/x" for n in range(100_000))]),
        None,
    ),
    "links.magnet": (lambda: (f"magnet:?xt=urn:btih:{n + 1:040x}\n" for n in range(100_000)), None),
    "trackers.torrent": (
        lambda: iter(
            [
                "d13:announce-list",
                "ll8:http://ae" * 1 + "l8:http://ae" * 99_999,
                "e",
                "4:infod6:lengthi0e4:name1:x12:piece lengthi4e6:pieces0:ee",
            ]
        ),
        None,
    ),
    "deep.meta4": (deep_xml, "too-deep"),
    "deep.torrent": (lambda: iter(["d4:info", "l" * 100_000, "e" * 100_000, "e"]), "too-deep"),
    "deep-dictionaries.torrent": (lambda: iter(["d4:info", "d1:a" * 100_000, "de", "e" * 100_000, "e"]), "too-deep"),
}
MEASURED = """
import sys, time
from mountdl.__main__ import main
try:
    main()
finally:
    sys.stderr.write(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
    sys.stderr.write(f" {time.process_time()}")
"""


@pytest.mark.parametrize("name", LIMITS)
def test_limits(name: str) -> None:
    """A million piece hashes, 100,000 URLs, 100,000 levels: in time that grows as they do, and 300 MB, whatever comes."""
    content, error = LIMITS[name]
    with Path(name).open("w") as file:
        file.writelines(content())
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "inspect", "--json", name],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    [document] = json.loads(done.stdout)["documents"]
    assert document.get("error", {}).get("kind") == error
    if name.startswith("million."):
        assert (document.get("piece_count") or document["files"][0]["pieces"]["count"]) == 1_000_000
    memory, took = done.stderr.split()
    # Of processor time; the slowest takes 5 to 7 s. What looks through all for each would take minutes.
    assert float(took) < 70
    assert int(memory) < 300 * 1000


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_regular_file_is_refused(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a sentence, at once: a pipe that nobody writes to would keep it for ever."""
    path = Path("/dev/zero") if kind == "device" else tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()

    assert main(["inspect", str(path)], JOBS) == ExitStatus.IO
    assert (
        capsys.readouterr().err
        == f"mountdl: {path}: it is a folder, pipe or device; only regular files are read [unreadable]\n"
    )
