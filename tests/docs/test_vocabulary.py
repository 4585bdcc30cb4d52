"""One word per thing, in the names that this project gives: modules, classes, functions, arguments, attributes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mountdl"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Word -> the one to use. Only words that have no other meaning here: "range" is also HTTP's and Python's,
# "server" is also the control server, "file" is also a file.
FORBIDDEN = {
    "segment": "extent",
    "blob": "content",
    "cid": "content key",
    "checksum": "digest",
    "hashsum": "digest",
    "provider": "source",
    "backend": "source",
    "urgency": "priority",
    "endgame": "hedge",
    "finalize": "settle",
    "finalise": "settle",
    "purge": "evict",
    "gc": "evict",
    "pos": "offset",
    "len_": "length",
}
# Words with a home: nowhere else.
AT_HOME = {
    "piece": ("descriptors/", "sources/swarm/", "content.py", "integrity.py", "demo/"),
    # Merkle trees (BEP 52) are made of blocks, too.
    "block": ("descriptors/", "sources/swarm/", "filesystem/", "store/", "app.py"),
    "blocks": ("descriptors/", "sources/swarm/", "filesystem/", "store/", "app.py"),
    "peer": ("sources/swarm/", "descriptors/"),  # magnet links carry x.pe
}
# Names that others gave: the exit statuses are aria2's.
GIVEN = {"CHECKSUM"}


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of whatever *tree* defines or assigns."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def words(name: str) -> list[str]:
    """Return the words of *name*: snake_case and CamelCase."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+_?$|[A-Z]?[a-z]+", name)]


def offences(place: str, tree: ast.AST) -> list[str]:
    """Return the names that *tree*, of the module *place*, should not have."""
    found = []
    for line, name in names(tree):
        for word in words(name):
            if word in FORBIDDEN and name not in GIVEN:
                found.append(f"line {line}: {name}: the word is {FORBIDDEN[word]}")
            if word in AT_HOME and not place.startswith(AT_HOME[word]):
                found.append(f"line {line}: {name}: {word} belongs into {' '.join(AT_HOME[word])}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_names_keep_to_the_vocabulary(path: Path) -> None:
    """A second word for a thing makes readers look for a second thing."""
    place = path.relative_to(PACKAGE).as_posix()

    assert offences(place, ast.parse(path.read_text(), str(path))) == []
    assert set() == set(words(path.stem)) & FORBIDDEN.keys()


def test_the_law_sees_what_breaks_it() -> None:
    """Definitions, arguments and attributes count; what a library is called by does not."""
    bad = ast.parse("class BlobStore:\n    def f(self, checksum):\n        self.last_segment = 1")

    assert len(offences("store/x.py", bad)) == 3
    assert offences("store/x.py", ast.parse("x = gc.collect()\nposition = 1")) == []
    assert len(offences("store/x.py", ast.parse("piece = 1"))) == 1
    assert offences("descriptors/x.py", ast.parse("piece = 1")) == []
