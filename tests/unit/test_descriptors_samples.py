"""Sample files of every kind, made after what real generators write, against what was read from them by hand.

tests/data/descriptors/NAME is the sample, NAME.json what `mountdl inspect --json` says of it.
"""

import json
from pathlib import Path

import pytest

from mountdl.descriptors import SUFFIXES, parse
from mountdl.descriptors.report import describe
from mountdl.errors import DescriptorError

FOLDER = Path(__file__).parent.parent / "data" / "descriptors"
SAMPLES = sorted(path for path in FOLDER.iterdir() if path.suffix != ".json")


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples(path):
    expected = json.loads(path.with_name(f"{path.name}.json").read_text())
    try:
        found = describe(parse(path.name, path.read_bytes()))
    except DescriptorError as error:
        found = {"error": {"kind": error.kind, "message": str(error)}}
    if "error" in expected:
        # libxml2's words differ between its versions; the kind and the hint do not.
        assert found["error"]["kind"] == expected["error"]["kind"]
    else:
        assert found == expected


def test_there_is_a_sample_of_every_kind():
    assert {path.suffix for path in SAMPLES} == SUFFIXES


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_the_content_says_what_it_is(path):
    """Without a suffix to help, every sample is read as the same kind."""

    def kind(name: str) -> str:
        try:
            return parse(name, path.read_bytes()).kind
        except DescriptorError as error:
            return error.kind

    assert kind("nameless") == kind(path.name)
