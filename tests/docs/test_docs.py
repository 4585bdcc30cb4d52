"""What the documents say of the code can be checked, so it is: links, modules, tests, options, numbers, hosts."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from mountdl.descriptors import SUFFIXES
from tests.support import options

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mountdl"
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
SHIPPED = [
    path
    for folder in ("docs", "man", "contrib", "mountdl", "tests")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in path.relative_to(ROOT).parts)
] + [ROOT / "README.md", ROOT / "pyproject.toml"]

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
TEST = re.compile(r"`(?:[\w/]+/)?(test_\w+\.py)(?:::(\w+))?`")
OPTION = re.compile(r"`(?:mountdl [^`]*?|)--([a-z][a-z-]+)")
# Anchored by what can't come before a path, so that "and/or", "1/2" and URLs are none.
ABSOLUTE = re.compile(r"(?<![\w.~$*<>)\]}/:%+-])/([a-z]+)(?=/[\w.])")
HOST = re.compile(r"\b(?:https?|ftp|sftp)://(?:[^\s/@`]*@)?([A-Za-z0-9.-]*[A-Za-z0-9])")

# Places that every Linux has. What is not among them is somebody's own machine.
PLACES = {"dev", "etc", "home", "mnt", "proc", "run", "sbin", "srv", "sys", "tmp", "usr", "var"}
# Hosts that documents may name: reserved for examples (RFC 2606, RFC 6761), this machine, and standards.
HOSTS = re.compile(r"(?:.*\.)?(?:example(?:\.(?:org|com|net))?|test|invalid|localhost|local|host)|127\.[\d.]+|"
                   r"(?:www\.)?(?:rfc-editor\.org|metalinker\.org|iana\.org|w3\.org)|keepachangelog\.com|bford\.info|"
                   r"[a-z]{1,2}|[\d.]+|URL")  # fmt: skip
UNITS = {"": 1, "s": 1, "B/s": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(text: str) -> set[str]:
    """Return the anchors that the headings of *text* get."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def table_of_modules(text: str) -> set[str]:
    """Return the modules in the first column of the tables of *text*; a bare name is in the folder of the last one."""
    found = set()
    for row in re.findall(r"^\| (`[^|]*\.py`[^|]*) \|", text, re.MULTILINE):
        folder = ""
        for name in re.findall(r"`([^`]+\.py)`", row):
            folder = name.rpartition("/")[0] if "/" in name else folder
            found.add(name if "/" in name or not folder else f"{folder}/{name}")
    return found


def strange_places(text: str) -> set[str]:
    return {f"/{first}" for first in ABSOLUTE.findall(text)} - {f"/{place}" for place in PLACES}


def strange_hosts(text: str) -> set[str]:
    return {host for host in HOST.findall(text) if not HOSTS.fullmatch(host)}


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    """Files and headings that a document links to exist; other sites are not our business."""
    for target in LINK.findall(FENCE.sub("", path.read_text())):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found.read_text()), target


def test_each_module_has_a_row() -> None:
    """The architecture's table is the whole package, and nothing that is gone."""
    modules = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py" and "__pycache__" not in path.parts
    }

    assert modules == table_of_modules((ROOT / "docs" / "architecture.md").read_text())


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_tests_that_are_named_exist(path: Path) -> None:
    """A promise that names its test can be looked up."""
    for file, function in TEST.findall(path.read_text()):
        found = list((ROOT / "tests").rglob(file))
        assert found, file
        assert not function or any(f"def {function}(" in each.read_text() for each in found), f"{file}::{function}"


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_options_that_are_named_exist(path: Path) -> None:
    """No document promises an option that no command takes."""
    assert set(OPTION.findall(path.read_text())) - options.known() - {"version"} == set()


NUMBERS = re.findall(
    r"^\| `([\w/]+)\.py` \| `(\w+)` \| ([\d.]+) ?([\w/]*) \|",
    (ROOT / "docs" / "semantics.md").read_text(),
    re.MULTILINE,
)


@pytest.mark.parametrize(("module", "name", "number", "unit"), NUMBERS, ids=[f"{row[0]}.{row[1]}" for row in NUMBERS])
def test_numbers_are_those_of_the_code(module: str, name: str, number: str, unit: str) -> None:
    """The table of numbers in semantics.md is what the modules say."""
    value = getattr(importlib.import_module("mountdl." + module.replace("/", ".")), name)

    assert float(number) * UNITS[unit] == pytest.approx(value)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_each_suffix_is_promised(suffix: str) -> None:
    """Who looks for what a mount reads finds it in the README and in semantics.md."""
    for path in (ROOT / "README.md", ROOT / "docs" / "semantics.md"):
        assert f"`{suffix}`" in path.read_text()


def test_there_are_numbers() -> None:
    """An empty table would pass every test."""
    assert len(NUMBERS) > 20


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
def test_decisions_have_their_parts(path: Path) -> None:
    """Context, choice, measured facts, and what would change our mind; numbered by their file name."""
    text = path.read_text()

    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Context", "Choice", "Measured", "What would change our mind"
    ]  # fmt: skip


def test_decisions_are_numbered_in_order_and_listed() -> None:
    """No gaps, no doubles; the architecture lists them all."""
    text = (ROOT / "docs" / "architecture.md").read_text()

    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    assert [path.name for path in DECISIONS if f"decisions/{path.name}" not in text] == []


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_nothing_names_a_machine_or_a_stranger(path: Path) -> None:
    """No path of the machine it was written on; no host but those reserved for examples and the standards' own."""
    text = path.read_text(errors="replace")
    prose = path.suffix in {".md", ".1"} or path.parent == ROOT / "contrib"
    here = {str(place) for place in (ROOT, Path(sys.prefix)) if len(place.parts) > 2}

    assert {place for place in here if place in text} == set()
    assert (strange_places(text) if prose else set()) == set()
    assert (strange_hosts(text) if prose else set()) == set()


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_no_merge_is_left_half_done(path: Path) -> None:
    """In a document nothing else would notice the marks of a conflict."""
    assert re.search(r"^(?:<{7}|>{7}) ", path.read_text(errors="replace"), re.MULTILINE) is None


def test_the_laws_see_what_breaks_them() -> None:
    """A test that can't fail proves nothing."""
    assert strange_places("in /data/projects/x and /etc/fstab, and/or a/b/c, `~/mnt/x`, ../up/x") == {"/data"}
    assert strange_hosts("https://mirror.example.org/a http://127.0.0.1:80/ https://somewhere.io/x") == {"somewhere.io"}
    assert table_of_modules("| `a/b.py`, `c.py` | x |\n| `d.py` | y |") == {"a/b.py", "a/c.py", "d.py"}
    assert TEST.findall("`tests/unit/test_x.py::test_y`, `test_z.py`") == [("test_x.py", "test_y"), ("test_z.py", "")]
    assert OPTION.findall("`mountdl mount --split 3`, `--log`, `rsync --delete`") == ["split", "log"]
    assert anchors("# A b, c\n```\n# no\n```\n## D-e") == {"a-b-c", "d-e"}
