"""Lists of addresses in aria2's input-file form, patterns, shortcuts and links to metalinks."""

import json
import shutil
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.descriptors import SUFFIXES, limits, names, parse, parse_link, patterns
from mountdl.descriptors.model import Descriptor
from mountdl.descriptors.report import describe, text_lines
from mountdl.errors import DescriptorError

METALINK = "application/metalink+xml"


def read(text: str, name: str = "x.uris") -> Descriptor:
    return parse(name, text.encode())


def files(text: str) -> dict[str, list[str]]:
    return {str(entry.path): [ref.url for ref in entry.mirrors] for entry in read(text).entries}


def codes(text: str) -> list[str]:
    return [caution.code for caution in read(text).cautions]


def test_a_line_is_a_file_and_tabs_separate_mirrors():
    assert files("http://a.example/x\thttp://b.example/y \t\n\n# comment\nftp://c.example/z\r\n") == {
        "x": ["http://a.example/x", "http://b.example/y"],
        "z": ["ftp://c.example/z"],
    }


def test_mirrors_of_a_list_are_equal():
    (entry,) = read("http://a.example/x\thttp://b.example/x").entries
    assert len({ref.priority for ref in entry.mirrors}) == 1
    assert entry.size is None


def test_options():
    """They belong to the line above; some say what the file is."""
    text = (
        "http://a.example/x\n  out=d/y.iso\n\tchecksum=sha-1=" + "ab" * 20 + "\n max-connection-per-server=3\n # no\n"
        " header=A: b\n header=C: d=e\n dir=/tmp\nhttp://b.example/z"
    )
    found = read(text)
    first, second = found.entries
    assert (str(first.path), first.digests, first.mirrors[0].max_connections) == (
        "d/y.iso",
        {"sha-1": bytes.fromhex("ab" * 20)},
        3,
    )
    assert (str(second.path), second.digests) == ("z", {})
    assert describe(found)["entries"][0] == {
        "urls": ["http://a.example/x"],
        "options": {
            "out": "d/y.iso",
            "checksum": "sha-1=" + "ab" * 20,
            "max-connection-per-server": "3",
            "header": ["A: b", "C: d=e"],
            "dir": "/tmp",
        },
    }


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("out=../x", "unsafe-name"),
        ("out=/etc/passwd", "unsafe-name"),
        ("checksum=md5=12", "bad-hash"),
        ("checksum=foo=12", "bad-hash"),
        ("nonsense", "bad-option"),
        ("=x", "bad-option"),
    ],
)
def test_options_that_are_dropped(option, code):
    text = f"http://a.example/x\n {option}\n"
    assert (list(files(text)), codes(text)) == (["x"], [code])


def test_a_name_where_the_server_gives_none():
    """`out` is the name, `default-name` takes the place of that in the address; both are kept inside."""
    options = ("", " default-name=d/y.iso\n", " default-name=y.iso\n out=z.iso\n", " default-name=../y\n")
    found = [read(f"http://a.example/x\n{each}").entries[0] for each in options]
    assert [(str(each.path), each.named) for each in found] == [
        ("x", False),
        ("d/y.iso", False),
        ("z.iso", True),
        ("x", False),
    ]


def test_a_checksum_is_of_one_file():
    """On a line that stands for several it is dropped, or they would be taken for one content."""
    text = "http://a.example/[1-2]\n checksum=md5=" + "ab" * 16
    assert [entry.digests for entry in read(text).entries] == [{}, {}]
    assert codes(text) == ["bad-hash"]


def test_options_before_any_address_belong_to_nothing():
    assert list(files(" out=a\nhttp://a.example/x")) == ["x"]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://a.example/", "index.html"),
        ("http://a.example", "index.html"),
        ("http://a.example/d/f%20g.iso?x=/y#z", "f g.iso"),
        ("http://a.example/%2e%2e", "index.html"),
        ("http://a.example/..%2fx", ".._x"),
        ("http://a.example/%C3%A9", "é"),
    ],
)
def test_names_of_addresses(url, name):
    assert list(files(url)) == [name]


def test_one_name_for_several_files():
    """Different addresses may be different bytes: both are shown."""
    text = "\n".join(f"http://{host}.example/d/x.tar.gz" for host in "abc")
    assert list(files(text)) == ["x.tar.gz", "x.tar (2).gz", "x.tar (3).gz"]
    assert codes(text) == ["duplicate-name"] * 2


def test_a_name_that_is_a_file_and_a_directory():
    found = list(files("http://a.example/x\n out=d/e\nhttp://a.example/y\n out=d\n"))
    assert found == ["d/e", "d (2)"]
    text = "http://a.example/x\n out=d\nhttp://a.example/y\n out=d/e\n"
    assert (list(files(text)), codes(text)) == (["d"], ["name-clash"])


def test_addresses_that_are_dropped():
    text = "file:///etc/passwd\nx\nhttp://a.example/x\trsync://b.example/x\n"
    assert files(text) == {"x": ["http://a.example/x"]}
    assert codes(text) == ["scheme-file", "relative-url", "scheme-rsync"]
    told = [caution.message for caution in parse("l.uris", text.encode()).cautions]
    assert told[1] == "line 2: a URL is relative and there is no base URL"


@pytest.mark.parametrize("text", ["hello\nworld", "# only", "file:///etc/passwd", " out=x"])
def test_nothing_to_fetch(text):
    with pytest.raises(DescriptorError) as caught:
        read(text)
    assert caught.value.kind == "no-sources"


def test_empty():
    with pytest.raises(DescriptorError) as caught:
        read("\n")
    assert caught.value.kind == "empty"


def test_magnets_in_a_list():
    link = f"magnet:?xt=urn:md5:{'ab' * 16}&xl=5&dn=m&as=http://a.example/m"
    found = read(f"{link}\nhttp://a.example/x\n")
    assert [str(entry.path) for entry in found.entries] == ["m", "x"]
    assert [magnet.size for magnet in found.magnets] == [5]
    assert describe(found)["entries"][0] == {"urls": [link], "options": {}}
    assert codes("magnet:?kt=x\nhttp://a.example/x") == ["no-usable-topic"]


# Patterns


@pytest.mark.parametrize(
    ("pattern", "expanded"),
    [
        ("http://{a,b}/f[1-3].bin", [[f"http://{h}/f{n}.bin" for h in "ab"] for n in (1, 2, 3)]),
        ("http://h/f[08-12:2]", [["http://h/f08"], ["http://h/f10"], ["http://h/f12"]]),
        ("http://h/f[8-10]", [["http://h/f8"], ["http://h/f9"], ["http://h/f10"]]),
        ("http://m[1-2].h/f", [["http://m1.h/f", "http://m2.h/f"]]),
        ("http://h/d[1-2]/f", [["http://h/d1/f", "http://h/d2/f"]]),
        ("http://h/f?n=[1-2]", [["http://h/f?n=1", "http://h/f?n=2"]]),
        ("http://h/[a-c]", [["http://h/a"], ["http://h/b"], ["http://h/c"]]),
        ("http://h/[A-C:2]", [["http://h/A"], ["http://h/C"]]),
        ("http://h/{a,}x", [["http://h/ax", "http://h/x"]]),
        ("http://h/[1-2][a-b]", [["http://h/1a"], ["http://h/1b"], ["http://h/2a"], ["http://h/2b"]]),
        ("http://[::1]/x{id}[x][1-]", [["http://[::1]/x{id}[x][1-]"]]),
        ("http://h/x", [["http://h/x"]]),
    ],
)
def test_patterns(pattern, expanded):
    assert patterns.expanded(pattern) == expanded


@pytest.mark.parametrize(
    "pattern",
    ["[1-999999999999999999]", "[1-100][1-101]", "[3-1]", "{" + "," * 10_000 + "}", "{a,b}" * 40, "[1-9]" * 1000],
)
def test_patterns_that_mean_nothing_anyone_wants(pattern):
    started = time.process_time()
    with pytest.raises(patterns.TooMany):
        patterns.expanded("http://h/" + pattern)
    assert time.process_time() - started < 10


def test_patterns_of_several_addresses_go_together():
    assert files("http://a.example/f[1-2]\thttp://b.example/g[1-2]") == {
        "f1": ["http://a.example/f1", "http://b.example/g1"],
        "f2": ["http://a.example/f2", "http://b.example/g2"],
    }
    text = "http://a.example/f[1-2]\thttp://b.example/f1"
    assert (list(files(text)), codes(text)) == (["f1", "f2"], ["bad-pattern"])


def test_options_about_patterns():
    """As aria2 has them: one file unless sequential, each address a file if so, no patterns at all if not wanted."""
    assert list(files("http://a.example/f[1-2]\n out=x\n")) == ["x"]
    assert list(files("http://{a,b}.example/f\n force-sequential=true\n out=x\n")) == ["f", "f (2)"]
    assert files("http://a.example/f[1-2]\n parameterized-uri=false\n") == {"f[1-2]": ["http://a.example/f[1-2]"]}


def test_a_pattern_that_stands_for_too_many():
    text = "http://a.example/[1-99999999]\nhttp://a.example/x"
    assert (list(files(text)), codes(text)) == (["x"], ["too-many-urls"])


@pytest.mark.skipif(shutil.which("aria2c") is None, reason="needs aria2c")
def test_patterns_as_aria2_expands_them(tmp_path):
    """Nothing listens there: what aria2 tries are the addresses, all of one file for it."""
    pattern = "http://127.0.0.1:1/{a,b}/f[08-12:2].bin"
    command = [
        "aria2c",
        "-P",
        "--no-conf",
        "--max-tries=1",
        "--console-log-level=error",
        "--disable-ipv6",
        "-d",
        str(tmp_path),
        pattern,
    ]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    tried = {
        word.removeprefix("URI=")
        for line in said.stdout.splitlines()
        if "aborted" in line
        for word in line.split()
        if word.startswith("URI=")
    }
    assert {url for file in patterns.expanded(pattern) for url in file} == tried


# Shortcuts


@pytest.mark.parametrize(
    "text",
    [
        "[InternetShortcut]\r\nURL=http://a.example/x[1-2]\r\nIDList=\r\n",
        "\ufeff[InternetShortcut]\nurl = http://a.example/x[1-2]\n",
        "[Other]\nURL=http://bad.example/\n[InternetShortcut]\nURL=http://a.example/x[1-2]\n",
        "[Desktop Entry]\nType=Link\nName=y\nURL=http://a.example/x[1-2]\nIcon=x\n",
    ],
)
@pytest.mark.parametrize("name", ["x.url", "x.desktop"])
def test_shortcuts(text, name):
    """An address in one is no pattern."""
    found = read(text, name)
    assert [ref.url for ref in found.entries[0].mirrors] == ["http://a.example/x[1-2]"]
    assert describe(found)["entries"] == [{"urls": ["http://a.example/x[1-2]"], "options": {}}]


@pytest.mark.parametrize(
    "text",
    ["[Desktop Entry]\nType=Application\nExec=sh\n", "URL=http://a.example/", "[InternetShortcut]\nURL=file:///x"],
)
def test_shortcuts_to_nothing(text):
    with pytest.raises(DescriptorError) as caught:
        read(text, "x.url")
    assert caught.value.kind == "no-sources"


# Links to metalinks


def test_a_link_to_a_metalink():
    found = parse_link("http://a.example/x#!metalink3!http://b.example/x.metalink")
    assert describe(found) == {
        "kind": "link",
        "url": "http://a.example/x",
        "metalink": "http://b.example/x.metalink",
        "warnings": [],
    }
    (entry,) = found.entries
    assert [(ref.url, ref.mediatype, ref.priority) for ref in entry.swarms] == [
        ("http://b.example/x.metalink", METALINK, 1)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "http://a.example/x",
        "http://a.example/x#y",
        "http://a.example/x#!metalink3!",
        "http://a.example/x#!metalink3!file:///etc/passwd",
        "http://a.example/x#!metalink3!x.metalink",
        "http://a.example/x#y#!metalink3!http://b.example/",
        "file:///x#!metalink3!http://b.example/",
        "",
    ],
)
def test_links_that_are_none(text):
    with pytest.raises(DescriptorError) as caught:
        parse_link(text)
    assert caught.value.kind == "bad-link"


def test_links_in_a_list():
    (entry,) = read("http://a.example/x#!metalink3!http://b.example/x.metalink\thttp://c.example/x#y").entries
    assert [ref.url for ref in entry.mirrors] == ["http://a.example/x", "http://c.example/x"]
    assert [ref.url for ref in entry.swarms] == ["http://b.example/x.metalink"]


# Kinds by content, limits, laws


@pytest.mark.parametrize("name", ["x", "x.txt", "x.uris", "x.list"])
def test_a_list_is_known_by_its_content(name):
    assert read("# c\nhttp://a.example/x", name).kind == "urilist"


def test_plain_text_files_are_not_searched_for():
    assert ".txt" not in SUFFIXES
    assert {".uris", ".url", ".desktop", ".magnet"} <= SUFFIXES


def test_bounded_time():
    started = time.process_time()
    for text in (
        "http://a.example/\n" * 12_000,
        "x\n" * 200_000,
        "http://a.example/x\t" * 25_000,
        "http://a.example/x\n" + " a=b\n" * 125_000,
        "http://a.example/[1-9999]\n" * 3,
    ):
        read("http://a.example/y\n" + text)
    assert time.process_time() - started < 60  # 4 to 6 here


def test_patterns_that_stand_for_too_much_text_together(monkeypatch):
    """Each alone is small enough: 100 lines of 5 KB with 10,000 addresses each would be 5 GB."""
    monkeypatch.setattr("mountdl.descriptors.urilist.MAX_EXPANDED_TEXT", 140)
    text = "http://a.example/[1-3]\nhttp://a.example/[4-6]\nhttp://a.example/x"
    assert list(files(text)) == ["1", "2", "3", "4", "5", "6", "x"]
    text = text.replace("[1-3]", "[1-4]")
    assert (list(files(text)), codes(text)) == (["1", "2", "3", "4", "x"], ["too-many-urls"])


def test_addresses_in_other_encodings_stay_what_they_are():
    (entry,) = parse("x.uris", b"http://a.example/caf\xe9.iso\n").entries
    assert [ref.url for ref in entry.mirrors] == ["http://a.example/caf%E9.iso"]


def test_too_many_options():
    assert codes("http://a.example/x\n" + " a=b\n" * limits.MAX_OPTIONS) == []
    assert codes("http://a.example/x\n" + " a=b\n" * 300) == ["too-many-options"]


def test_too_many_lines(monkeypatch):
    """What is left out is told."""
    monkeypatch.setattr("mountdl.descriptors.urilist.MAX_LINES", 2)
    text = "# comment\nhttp://a.example/1\nhttp://a.example/2\nhttp://a.example/3"
    assert (list(files(text)), codes(text)) == (["1"], ["too-many-links"])


def test_too_many_files(monkeypatch):
    monkeypatch.setattr("mountdl.descriptors.urilist.MAX_GROUPS_LISTED", 3)
    text = "http://a.example/[1-9]"
    assert (list(files(text)), codes(text)) == (["1", "2", "3"], ["too-many-links"])
    assert limits.MAX_GROUPS_LISTED == 100_000


@given(st.binary(max_size=200), st.sampled_from(["a.uris", "a.url", "a.desktop", "a.txt", "a.magnet", "a"]))
def test_any_bytes(data, name):
    try:
        found = parse(name, data)
    except DescriptorError:
        return
    json.dumps(describe(found)).encode()
    assert all(line.isprintable() for line in text_lines(found))


@given(
    st.lists(
        st.sampled_from(
            [
                "http://a.example/x",
                " out=a/b",
                " out=a",
                "\t",
                "\n",
                "[1-3]",
                "{a,b}",
                "#!metalink3!",
                "magnet:?xt=urn:btih:",
                "\0",
                "é",
                "/..",
            ]
        )
    ).map("".join)
)
def test_no_name_escapes(text):
    try:
        found = read(text)
    except DescriptorError:
        return
    paths = [str(entry.path) for entry in found.entries]
    assert len(set(paths)) == len(paths)
    assert [names.fault(path) for path in paths] == [None] * len(paths)


@given(st.text(max_size=300).filter(lambda name: names.fault(name) is None), st.integers(2, 10**9))
def test_numbered_names_are_safe_and_other_names(name, number):
    assert names.fault(names.numbered(name, number)) is None
    assert names.numbered(name, number) != name


def test_who_names_a_file():
    """The list with "out", else its server, and until that has answered its address."""
    found = read("http://h/1\nhttp://h/2\n out=a/b.iso\nhttp://h/3\n out=../c\n").entries
    assert [(str(each.path), each.named) for each in found] == [("1", False), ("a/b.iso", True), ("3", False)]
