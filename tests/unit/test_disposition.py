"""Names that servers give files."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mountdl.descriptors.disposition import LONGEST, filename
from mountdl.descriptors.names import MAX_COMPONENT, invisible, safe_component


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("attachment; filename=a.tar.gz", "a.tar.gz"),
        ('Attachment; FileName="a b.iso"; size=7', "a b.iso"),
        ('inline;filename="a;filename=b.iso"', "a;filename=b.iso"),
        ("attachment; filename=a b.iso ; x=y", "a b.iso"),
        ("filename=a.iso", "a.iso"),
        (r'attachment; filename="a \"b\".iso"', 'a "b".iso'),
        ("attachment; filename=plain.txt; filename*=UTF-8''na%C3%AFve%20file.txt", "naïve file.txt"),
        ("attachment; filename*=iso-8859-1'en'%A3.txt", "£.txt"),
        ("attachment; filename*=UTF-8''%ff; filename=a.iso", "a.iso"),
        ("attachment; filename*=x-mac''a.iso; filename=b.iso", "b.iso"),
        ("attachment; filename=a.iso; filename=b.iso", "a.iso"),
        ('attachment; filename="na\xc3\xafve.txt"', "naïve.txt"),
        ('attachment; filename="na\xefve.txt"', "naïve.txt"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\dir\\a.iso"', "a.iso"),
        ("attachment; filename*=UTF-8''%2e%2e%2fa.iso", "a.iso"),
        ('attachment; filename=".bashrc"', "bashrc"),
        ("attachment; filename*=UTF-8''a%00b.iso", "a_b.iso"),
    ],
)
def test_what_a_server_calls_a_file(field: str, name: str) -> None:
    """RFC 6266, and what servers send in its place; only the last part of a path counts."""
    assert filename(field) == name


@pytest.mark.parametrize(
    "field",
    ["", "inline", "attachment; filename=", 'attachment; filename=""', "attachment; filename=..", 'filename="a/"']
    + ["attachment; name=a.iso", "attachment; filename*=a.iso", "attachment; filename*=UTF-8''a%E2%80%AEb.exe"],
)
def test_no_name(field: str) -> None:
    """Nor one that shows as another than it is."""
    assert filename(field) is None


@given(st.text(st.sampled_from("filename*=;\"'\\ /.%20utf-8aé\u202e\ud800\x00\n")) | st.text())
@example("=" * 100_000)
@example("a;" * 100_000)
@example('filename="' + "\\" * 100_000)
def test_whatever_comes_leads_nowhere_else(text: str) -> None:
    """It is one safe part of a path, or none; and takes no time that grows with what is sent."""
    for field in (text, f"attachment; filename={text}", f"attachment; filename*=UTF-8''{text}"):
        name = filename(field)
        if name is not None:
            assert safe_component(name)
            assert not name.startswith(".")
            assert not invisible(name)
            assert len(name.encode()) <= MAX_COMPONENT
    assert LONGEST < 100_000
