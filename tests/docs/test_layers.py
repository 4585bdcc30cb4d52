"""The source keeps to the architecture: rows, homes of foreign libraries, and sizes."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mountdl"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")

# Rows import strictly lower rows. The programs on top start each other: the demo runs the application, and
# `__main__` hands both to the commands.
ROWS = [
    {"extents", "errors", "priorities", "pages", "digests", "weak", "openfiles"},
    {"integrity", "settings"},
    {"descriptors"},
    {"content"},
    {"sources", "store"},
    {"engine", "catalog"},
    {"filesystem", "control", "remote"},
    {"layers"},
    {"app", "fetching"},
    {"demo"},
    {"__main__"},
]
ROW = {name: number for number, names in enumerate(ROWS, 1) for name in names}

HOMES = {
    "httpx": ("sources/http",),
    "h11": ("sources/http", "control/rpc"),
    "wsproto": ("control/rpc",),
    "asyncssh": ("sources/sftp",),
    "asyncio": ("sources/sftp",),
    "libtorrent": ("sources/swarm",),
    "pyfuse3": ("filesystem",),
    "lxml": ("descriptors",),
    "isal": ("store",),
}
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def unit(path: Path) -> str:
    """Return the name of the package or module of the top level that *path* is in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything imported by the nodes of *tree*, at the top or inside functions."""
    for node in tree:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def parsed(text: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(text)))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return parsed(path.read_text())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_raised_for_a_group(path: Path) -> None:
    """Python 3.11.2, that of Debian 12, puts what `except*` raises into another group, which no caller expects."""
    handlers = [each for node in nodes(path) if isinstance(node, ast.TryStar) for each in node.handlers]

    assert not [each.lineno for handler in handlers for each in ast.walk(handler) if isinstance(each, ast.Raise)]


def wrong_rows(name: str, tree: Iterable[ast.AST]) -> list[str]:
    """Return what *tree*, of the unit *name*, imports from its own row or above."""
    found = []
    for line, imported in imports(tree):
        parts = imported.split(".")
        # `import mountdl` and `from mountdl import __version__` ask for the package itself, which imports nothing.
        if parts[0] != "mountdl" or parts[1:] in ([], ["__version__"]):
            continue
        other = parts[1]
        if other != name and ROW[other] >= ROW[name]:
            found.append(f"line {line}: {name} (row {ROW[name]}) imports {imported} (row {ROW[other]})")
    return found


def strangers(path: Path, tree: Iterable[ast.AST]) -> list[str]:
    """Return which foreign libraries *tree* imports outside their home."""
    folder = path.relative_to(PACKAGE).as_posix()
    return [
        f"line {line}: {imported} lives in {' and '.join(homes)}"
        for line, imported in imports(tree)
        if (homes := HOMES.get(imported.split(".")[0])) and not folder.startswith(tuple(f"{home}/" for home in homes))
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_its_own_package_or_lower_rows(path: Path) -> None:
    """Also inside functions: a lazy import is a dependency like any other."""
    assert unit(path) in ROW, f"{unit(path)} has no row in docs/architecture.md"
    assert wrong_rows(unit(path), nodes(path)) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_foreign_library_stays_at_home(path: Path) -> None:
    """Each has one place that knows it and maps its exceptions."""
    assert strangers(path, nodes(path)) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_files_and_functions_stay_short(path: Path) -> None:
    """At most 400 lines a file and 60 a function, so that each has one reason to change."""
    functions = (n for n in nodes(path) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    lengths = {f"{f.name} (line {f.lineno})": (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions}

    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


def test_the_law_sees_what_breaks_it() -> None:
    """A test that can't fail proves nothing: upward, sideways, lazy and foreign imports are all found."""
    lazy = parsed("def f():\n    from mountdl.engine import engine")
    sideways = parsed("import mountdl.store.store")
    fine = parsed("from mountdl.errors import MountdlError\nfrom mountdl.sources.http import bulk")

    assert len(wrong_rows("store", lazy)) == 1
    assert len(wrong_rows("sources", sideways)) == 1
    assert wrong_rows("sources", fine) == []
    assert len(strangers(PACKAGE / "store" / "x.py", parsed("from httpx import Client"))) == 1
