"""The manual, the table of options and --help tell of the same options."""

import re
from pathlib import Path

import pytest

from mountdl.control import parser
from mountdl.control.options import OPTIONS, Option
from mountdl.errors import ExitStatus
from tests.support import options

MANUAL = (Path(__file__).parents[2] / "man" / "mountdl.1").read_text()
HELP = parser.build()[1]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_each_option_is_in_the_manual_with_its_value_and_default(option: Option) -> None:
    """The manual's paragraph of an option names its value, what it does and its default."""
    value = "Op = Ns Cm true Ns | Ns Cm false" if option.flag else f"= Ns Ar {option.metavar}"
    short = f"Fl {option.short} , " if option.short else ""
    head = f".It {short}Fl -{option.name} Ns {value}\n"
    start = MANUAL.index(head) + len(head)
    paragraph = MANUAL[start : MANUAL.index("\n.", start + 1)]
    default = paragraph.endswith("\nThe default is")
    following = MANUAL[start + len(paragraph) + 1 :].partition("\n")[0]

    assert f"{option.help[0].upper()}{option.help[1:]}." == paragraph.removesuffix("\nThe default is")
    assert bool(option.default) == default
    assert not default or option.default == following.removesuffix(" .")[4:]


def test_the_manual_has_no_option_that_does_not_exist() -> None:
    """Every long option that the manual names is one that a command takes."""
    named = set(re.findall(r"(?:Fl|\|) -([a-z0-9-]{2,})", MANUAL))

    assert set() == named - options.known() - {"version"}


def test_every_option_of_every_command_is_in_the_manual() -> None:
    """What --help of a command shows, the manual shows too."""
    named = set(re.findall(r"(?:Fl|\|) -([a-z0-9-]{2,})", MANUAL))

    assert set() == options.known() - named


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_help_shows_each_option_with_its_default(option: Option) -> None:
    """--help is made of the same table."""
    shown = " ".join(HELP["mount"].format_help().split())

    assert f"--{option.name}" in shown
    assert " ".join((option.help + (f" ({option.default})" if option.default else "")).split()) in shown


@pytest.mark.parametrize("command", sorted(HELP))
def test_each_command_is_in_the_synopsis(command: str) -> None:
    """No command without a line in the synopsis and a paragraph."""
    assert f".Nm\n.Cm {command}\n" in MANUAL
    assert f".It Cm {command}" in MANUAL


@pytest.mark.parametrize("status", ExitStatus)
def test_each_exit_status_is_listed(status: ExitStatus) -> None:
    """Scripts rely on the numbers, so the manual has them all."""
    section = MANUAL[MANUAL.index(".Sh EXIT STATUS") : MANUAL.index(".Sh EXAMPLES")]

    assert f".It {int(status)}\n" in section


def test_each_attribute_is_in_the_manual() -> None:
    """Who has only the manual finds out how to look at a file, and how to pin and prefetch it."""
    semantics = (Path(__file__).parents[2] / "docs" / "semantics.md").read_text()
    table = semantics.partition("### Extended attributes")[2].partition("### statfs")[0]
    names = [
        name for row in table.splitlines() if row.startswith("| `") for name in re.findall("`(.*?)`", row.split("|")[1])
    ]

    assert len(names) > 8
    assert [name for name in [*names, "prefetch"] if f".It Li user.mountdl.{name}\n" not in MANUAL] == []
