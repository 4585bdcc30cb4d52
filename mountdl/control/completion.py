"""Scripts by which shells complete the command line, made of the parsers themselves: they know each option there is.

Pure. What a shell offers for a value depends on what the value is: words, a folder, a file, a mount, or nothing.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from mountdl.control import parser
from mountdl.control.options import BY_NAME
from mountdl.control.values import OneOf

FILES, FOLDERS, MOUNTS = "files", "folders", "mounts"
_BY_METAVAR = {
    "DIR": FOLDERS, "FILE": FILES, "OUT": FILES, "PATH": FILES, "SOURCE": FILES, "WORD": FILES,
}  # fmt: skip
_MOUNTED = "findmnt -nlo TARGET -t fuse.mountdl 2>/dev/null"


class Argument(NamedTuple):
    """An option, or an operand where *names* is empty. *value* is what it takes: words, a kind, "" for anything.

    None: it takes none. *many*: it may be given again.
    """

    names: tuple[str, ...]
    help: str
    label: str
    value: str | tuple[str, ...] | None
    many: bool = False


class Command(NamedTuple):
    """A command with its *arguments*."""

    name: str
    help: str
    arguments: tuple[Argument, ...]

    @property
    def options(self) -> tuple[Argument, ...]:
        """Those with names."""
        return tuple(each for each in self.arguments if each.names)

    @property
    def operands(self) -> tuple[Argument, ...]:
        """Those without, in their order."""
        return tuple(each for each in self.arguments if not each.names)


def script(shell: str) -> str:
    """Return what *shell*, one of `SHELLS`, completes `mountdl` by."""
    return "\n".join(SHELLS[shell](commands())) + "\n"


def commands() -> tuple[Command, ...]:
    """Return all commands of the command line."""
    _, parsers = parser.build()
    return tuple(
        Command(name, parser.COMMANDS[name].summary, tuple(_arguments(name, each))) for name, each in parsers.items()
    )


def _arguments(command: str, each: parser.Parser) -> Iterator[Argument]:
    for action in each._actions:  # noqa: SLF001  # argparse tells them in no other way
        if action.help == argparse.SUPPRESS:
            continue
        many = action.nargs in {"*", "+"} or isinstance(action.default, list)
        text = (action.help or "") % {"prog": each.prog}
        yield Argument(tuple(action.option_strings), text, str(action.metavar or ""), _value(command, action), many)


def _value(command: str, action: argparse.Action) -> str | tuple[str, ...] | None:
    option = BY_NAME.get(str(action.const))
    if action.nargs == 0 or (option is not None and option.flag):
        return None
    if option is not None and isinstance(option.read, OneOf):
        return option.read.words
    if action.choices is not None:
        return tuple(map(str, action.choices))
    if action.metavar == "MOUNTPOINT":
        return MOUNTS if command == "unmount" else FOLDERS
    return _BY_METAVAR.get(str(action.metavar), "")


# -- bash ----------------------------------------------------------------------------------------------------------

_BASH = r"""# bash completion of mountdl
_mountdl_words() {
    COMPREPLY=($(compgen -W "$1" -- "$word"))
}

_mountdl_folders() {
    compopt +o default +o bashdefault -o dirnames 2>/dev/null
}

_mountdl_mounts() {
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "$(MOUNTED)" -- "$word"))
    compopt -o filenames 2>/dev/null
}

_mountdl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= i
    COMPREPLY=()
    # For bash "=" is a word of its own.
    if [[ $word == "=" ]]; then
        word=
    elif [[ $before == "=" ]]; then
        before=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} != -* ]]; then
            command=${COMP_WORDS[i]}
            break
        fi
    done
    case $command in"""
_BASH_END = """    esac
}

complete -o bashdefault -o default -F _mountdl mountdl"""


def _bash(commands: Sequence[Command]) -> Iterator[str]:
    yield _BASH.replace("MOUNTED", _MOUNTED)
    yield f"        '') _mountdl_words '{' '.join(each.name for each in commands)} --help --version' ;;"
    for command in commands:
        yield f"        {command.name})"
        yield "            case $before in"
        for option in command.options:
            if option.value is not None:
                yield f"                {'|'.join(option.names)}) {_by_bash(option.value)}; return ;;"
        yield "            esac"
        yield "            if [[ $word == -* ]]; then"
        names = " ".join(name for option in command.options for name in option.names)
        yield f"                _mountdl_words '{names}'"
        first = next(iter(command.operands), None)
        if first is not None and first.value and first.value != FILES:
            yield "            elif ((i == COMP_CWORD - 1)); then"
            yield f"                {_by_bash(first.value)}"
        yield "            fi"
        yield "            ;;"
    yield _BASH_END


def _by_bash(value: str | tuple[str, ...]) -> str:
    """Return what completes *value*; nothing where the shell's own way will do: files."""
    if isinstance(value, tuple):
        return f"_mountdl_words '{' '.join(value)}'"
    return {FOLDERS: "_mountdl_folders", MOUNTS: "_mountdl_mounts"}.get(value, ":")


# -- zsh -----------------------------------------------------------------------------------------------------------

_ZSH = """#compdef mountdl
_mountdl_mounts() {
    local -a mounts
    mounts=("${(@f)$(MOUNTED)}")
    _wanted mounts expl 'mount' compadd -a mounts
}

_mountdl() {
    local curcontext=$curcontext expl
    local -a commands
    commands=("""
_ZSH_MIDDLE = """    )
    if ((CURRENT == 2)); then
        _describe -t commands 'command' commands
        _arguments '--help[how to use it]' '--version[which version it is]'
        return
    fi
    shift words
    ((CURRENT--))
    case $words[1] in"""
_ZSH_END = """    esac
}

if [[ $funcstack[1] == _mountdl ]]; then
    _mountdl "$@"
else
    compdef _mountdl mountdl
fi"""


def _zsh(commands: Sequence[Command]) -> Iterator[str]:
    yield _ZSH.replace("MOUNTED", _MOUNTED)
    for command in commands:
        yield f"        {_quoted(f'{command.name}:{command.help}')}"
    yield _ZSH_MIDDLE
    for command in commands:
        yield f"        {command.name})"
        yield "            _arguments -s -S \\"
        for option in command.options:
            yield from (f"                {_quoted(each)} \\" for each in _zsh_options(option))
        for place, operand in enumerate(command.operands, 1):
            where = "*" if operand.many else str(place)
            yield f"                {_quoted(f'{where}:{operand.label}:{_by_zsh(operand.value)}')} \\"
        yield "            && return 0"
        yield "            ;;"
    yield _ZSH_END


def _zsh_options(option: Argument) -> Iterator[str]:
    """Yield one specification for each name of *option*; one rules the others out."""
    text = "".join(f"\\{ch}" if ch in "[]:\\" else ch for ch in option.help)
    for name in option.names:
        others = "*" if option.many else f"({' '.join(option.names)})"
        glue = "" if option.value is None else "=" if name.startswith("--") else "+"
        value = "" if option.value is None else f":{option.label.replace(':', '')}:{_by_zsh(option.value)}"
        yield f"{others}{name}{glue}[{text}]{value}"


def _by_zsh(value: str | tuple[str, ...] | None) -> str:
    if isinstance(value, tuple):
        return f"({' '.join(value)})"
    return {FILES: "_files", FOLDERS: "_files -/", MOUNTS: "_mountdl_mounts"}.get(value or "", " ")


# -- fish ----------------------------------------------------------------------------------------------------------


def _fish(commands: Sequence[Command]) -> Iterator[str]:
    yield "# fish completion of mountdl"
    yield "complete -c mountdl -f"
    yield "complete -c mountdl -n __fish_use_subcommand -l help -d 'how to use it'"
    yield "complete -c mountdl -n __fish_use_subcommand -l version -d 'which version it is'"
    for command in commands:
        yield f"complete -c mountdl -n __fish_use_subcommand -a {command.name} -d {_in_fish(command.help)}"
    for command in commands:
        seen = f"complete -c mountdl -n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            value = (
                "" if option.value is None else " -r -F" if option.value == FILES else f" -x{_by_fish(option.value)}"
            )
            yield f"{seen} {names}{value} -d {_in_fish(option.help)}"
        for operand in command.operands:
            if isinstance(operand.value, tuple):  # a verb, once
                words = " ".join(operand.value)
                yield f"{seen[:-1]}; and not __fish_seen_subcommand_from {words}'{_by_fish(operand.value)}"
                seen = f"{seen[:-1]}; and __fish_seen_subcommand_from {words}'"
            else:
                yield f"{seen}{' -F' if operand.value == FILES else _by_fish(operand.value or '')}"


def _by_fish(value: str | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f" -a {_in_fish(' '.join(value))}"
    found = {FOLDERS: "(__fish_complete_directories)", MOUNTS: f"({_MOUNTED})"}.get(value)
    return "" if found is None else f" -a {_in_fish(found)}"


def _in_fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quoted(text: str) -> str:
    """Return *text* as one word of bash or zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


SHELLS: dict[str, Callable[[Sequence[Command]], Iterator[str]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
