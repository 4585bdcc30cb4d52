"""The commands: from arguments to an exit status, with a sentence on standard error when it is not 0.

Each command imports what it runs, so that one that asks a daemon takes 0.06 s and not 0.12
(tests/docs/test_start.py).
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mountdl.control import parser, systemd
from mountdl.control.given import Given, from_words, gathered, prepared, takes
from mountdl.control.text import quoted, shown
from mountdl.errors import ExitStatus, MountdlError, UsageError

if TYPE_CHECKING:
    from mountdl.control.fetch import Fetch
    from mountdl.control.mounting import Serve
    from mountdl.control.registry import Registry

Demo = Callable[[Path | None], int]


class Jobs(NamedTuple):
    """What commands need the layers for."""

    serve: "Serve"
    fetch: "Fetch"
    demo: Demo


INTERRUPTED = 130
"""What a shell expects of a command that Ctrl-C ended."""
BROKEN_PIPE = 128 + 13
"""The same of one that SIGPIPE ended."""
_ALSO = {"umount": "unmount"}
_LISTS = frozenset({"cache", "create", "fetch", "inspect"})
"""Commands whose arguments are as many files as there are."""


def main(arguments: Sequence[str], jobs: Jobs) -> int:
    """Run the command that *arguments* name; return its exit status."""
    return _guarded("mountdl", lambda: _run(arguments, jobs))


def mount_helper(arguments: Sequence[str], serve: "Serve") -> int:
    """Run `mount.mountdl SOURCE MOUNTPOINT [-sfnvrw] [-N NS] [-t TYPE] [-o ...]`, as mount(8) calls it."""
    return _guarded("mount.mountdl", lambda: _helped(arguments, serve))


def unmount_helper(arguments: Sequence[str]) -> int:
    """Run `umount.fuse.mountdl MOUNTPOINT [-flnrv] [-N NS] [-t TYPE]`, as umount(8) calls it."""
    return _guarded("umount.fuse.mountdl", lambda: _unhelped(arguments))


def _guarded(name: str, run: Callable[[], int]) -> int:
    try:
        status = _finished(run)
        sys.stdout.flush()
    except MountdlError as error:
        print(systemd.line(f"{name}: {shown(error)}", systemd.ERROR), file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) has enough.
        _drop_output()
        return BROKEN_PIPE
    except OSError as error:
        # Files are named in their own sentences; what is left is our output, on a full disk.
        _drop_output()
        where = error.filename or ("the folder that this runs in" if _homeless() else "standard output")
        print(f"{name}: {shown(where)}: {error.strerror or error}", file=sys.stderr)
        return ExitStatus.IO
    return status


def _finished(run: Callable[[], int]) -> int:
    try:
        return run()
    except SystemExit as end:
        # What argparse ends --help and --version with.
        return end.code if isinstance(end.code, int) else ExitStatus.OK


def _homeless() -> bool:
    """Say whether the folder that we were begun in is gone, so that nothing can be named relative to it."""
    try:
        os.getcwd()  # noqa: PTH109  # Path.cwd is that, and more to import
    except OSError:
        return True
    return False


def _drop_output() -> None:
    """Throw away what standard output still holds: Python would complain once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str], jobs: Jobs) -> int:
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    name = _ALSO.get(arguments[0], arguments[0]) if arguments else ""
    top, commands = parser.build({name})
    if not arguments:
        top.print_help()
        return ExitStatus.OK
    chosen = commands.get(name)
    if chosen is None:
        if os.sep in name and arguments[2:3] == ["-o"]:
            return _helped(arguments, jobs.serve)  # as mount.fuse(8) calls us for the type fuse.mountdl
        if not name.startswith("-"):
            raise UsageError(f"there is no command {quoted(name)}{_near(name, commands)}; see mountdl --help")
        _place_options(arguments, top)
        top.parse_args(prepared(arguments, top))
        raise UsageError("a command is missing; see mountdl --help")
    words = prepared(arguments[1:], chosen)
    return _dispatch(chosen.parse_args(gathered(words, chosen) if name in _LISTS else words), jobs)


def _place_options(arguments: Sequence[str], top: parser.Parser) -> None:
    """Raise UsageError when *arguments* begin with an option of the command that they name later."""
    _, commands = parser.build()
    option, command = arguments[0].partition("=")[0], next((word for word in arguments if word in commands), None)
    if command is not None and takes(commands[command], option) and not takes(top, option):
        raise UsageError(f"{option} belongs behind the command: mountdl {command} {option}")


def _near(word: str, commands: dict[str, parser.Parser]) -> str:
    import difflib

    found = next((name for name in commands if name.startswith(word) or word.startswith(name)), None)
    found = found or next(iter(difflib.get_close_matches(word, commands, n=1)), None)
    return f" (did you mean {found}?)" if found else ""


def _dispatch(arguments: argparse.Namespace, jobs: Jobs) -> int:
    command = arguments.command
    if command == "mount":
        _mount(arguments.source, arguments.mountpoint, arguments.given, jobs.serve)
    elif command == "fetch":
        return _fetch(arguments, jobs.fetch)
    elif command == "unmount":
        from mountdl.control import unmounting

        unmounting.run(_path("MOUNTPOINT", arguments.mountpoint), _registry())
    elif command == "inspect":
        return _inspect(arguments)
    elif command == "create":
        _create(arguments)
    elif command == "cache":
        return _cache(arguments)
    elif command == "completion":
        from mountdl.control import completion

        print(completion.script(arguments.shell), end="")
    elif command == "demo":
        from mountdl.control import checks

        checks.check_fuse()
        return jobs.demo(None if arguments.mountpoint is None else _path("MOUNTPOINT", arguments.mountpoint).absolute())
    else:
        _ask(command, arguments)
    return ExitStatus.OK


def _registry() -> "Registry":
    from mountdl.control.registry import Registry

    return Registry.of_user()


def _word(name: str, text: str) -> str:
    """Return *text*, the argument *name*. Raises UsageError when it is empty, as "$X" is where X is misspelt."""
    if not text:
        raise UsageError(f"{name}: '' is not allowed; allowed is a path, not empty")
    return text


def _path(name: str, text: str) -> Path:
    return Path(_word(name, text))


def _warn_of_variables() -> None:
    from mountdl.control import configuration

    for name in configuration.unknown_variables(os.environ):
        told = f"mountdl: warning: {shown(name)} sets nothing: there is no such option"
        print(systemd.line(told, systemd.WARNING), file=sys.stderr)


def _mount(source: str, mountpoint: str, given: Sequence[Given], serve: "Serve", *, by_mount8: bool = False) -> None:
    from dataclasses import replace

    from mountdl.control import configuration, mounting, mounttable

    _warn_of_variables()
    place = mounttable.resolved(configuration.place("MOUNTPOINT", mountpoint))
    settings = configuration.settings(configuration.located(source), place, given)
    settings = replace(settings, mount=replace(settings.mount, by_mount8=by_mount8))
    mounting.run(settings, serve, _registry())


def _fetch(arguments: argparse.Namespace, run: "Fetch") -> int:
    from mountdl.control import fetch

    _warn_of_variables()
    wishes = fetch.Wishes(
        tuple(_word("SOURCE", source) for source in arguments.sources),
        None if arguments.input_file is None else _word("--input-file", arguments.input_file),
        _path("--dir", arguments.dir),
        arguments.at_once,
        arguments.quiet,
        arguments.interval,
        arguments.given,
        None if arguments.out is None else _word("--out", arguments.out),
    )
    return fetch.run(wishes, run)


def _ask(command: str, arguments: argparse.Namespace) -> None:
    from mountdl.control import status

    registry = _registry()
    if command == "status":
        path = None if arguments.path is None else _path("PATH", arguments.path)
        with contextlib.suppress(KeyboardInterrupt) if arguments.watch else contextlib.nullcontext():
            status.run(path, registry, as_json=arguments.json, watch=arguments.watch)
    elif command == "why":
        status.why(_path("FILE", arguments.file), registry, as_json=arguments.json)
    else:
        from mountdl.control import waiting

        waiting.run(_path("FILE", arguments.file), registry, what=arguments.what, timeout=arguments.timeout)


def _inspect(arguments: argparse.Namespace) -> int:
    from mountdl.control import inspect, options
    from mountdl.settings import PreferenceSettings

    def value(name: str, text: str | None, shown_as: str) -> object:
        return None if text is None else options.read(options.BY_NAME[name], text, shown_as)

    locations = value("metalink-location", arguments.location, "--location")
    languages = value("metalink-language", arguments.language, "--language")
    base = value("metalink-base-uri", arguments.base_url, "--base-url")
    preferences = PreferenceSettings(
        locations=locations if isinstance(locations, tuple) else (),
        languages=languages if isinstance(languages, tuple) else (),
        base_uri=None if base is None else str(base),
    )
    named: list[str | inspect.Head] = [_word("FILE", name) for name in arguments.files]
    if (arguments.headers is None) != (arguments.url is None):
        raise UsageError("--headers and --url go together")
    if arguments.headers is not None:
        named.append(
            inspect.Head(_word("--headers", arguments.headers), str(value("metalink-base-uri", arguments.url, "--url")))
        )
    if not named:
        raise UsageError("nothing to inspect; see mountdl inspect --help")
    return inspect.run(named, preferences, as_json=arguments.json)


def _cache(arguments: argparse.Namespace) -> int:
    from mountdl.control import cache, cache_files, configuration

    given = [] if arguments.cache_dir is None else [Given("cache-dir", arguments.cache_dir, "--cache-dir")]
    directory = configuration.settings("/", Path("/"), given).store.directory
    verb, words = arguments.verb, [_word("FILE", word) for word in arguments.words]
    registry = _registry()
    if words and not given and verb not in {"list", "adopt"}:
        directory = cache.store_of(words[0], registry) or directory
    if (not words and verb in {"pin", "unpin", "adopt"}) or (verb == "export" and len(words) != 2):
        raise UsageError(f"cache {verb} needs {'a file and where to put it' if verb == 'export' else 'files'}")
    if verb == "list":
        cache.listing(directory, registry, as_json=arguments.json)
    elif verb == "verify":
        return cache.verify(directory, words, registry, as_json=arguments.json)
    elif verb == "prune":
        pruning = cache.Pruning(arguments.size, arguments.age, tuple(words))
        cache.prune(directory, pruning, registry, as_json=arguments.json)
    elif verb == "export":
        cache_files.export(directory, words[0], Path(words[1]), registry)
    elif verb == "adopt":
        descriptors = [_path("--descriptor", each) for each in arguments.descriptor]
        cache_files.adopt(directory, [Path(word) for word in words], descriptors, as_json=arguments.json)
    else:
        cache.pin(directory, words, registry, on=verb == "pin")
    return ExitStatus.OK


def _create(arguments: argparse.Namespace) -> None:
    from mountdl.control import create

    files = tuple(_path("FILE", name) for name in arguments.files)
    out = None if arguments.out is None else _word("--out", arguments.out)
    create.run(create.Order(files, out, arguments.format, tuple(arguments.mirror), arguments.piece_length))


def _helped(arguments: Sequence[str], serve: "Serve") -> int:
    from mountdl.control import configuration

    made = parser.Parser(prog="mount.mountdl", description="Mount for mount(8) and fstab(5); see mountdl(1).")
    made.add_argument("source", metavar="SOURCE")
    made.add_argument("mountpoint", metavar="MOUNTPOINT")
    made.add_argument("-o", action="append", default=[], dest="words", metavar="OPTION[=VALUE],...")
    made.add_argument("-f", action="store_true", dest="fake", help="check all, mount nothing")
    made.add_argument("-s", "-n", "-v", "-r", "-w", action="store_true", dest="ignored", help="accepted and ignored")
    made.add_argument("-N", "-t", dest="ignored", help=argparse.SUPPRESS)
    found = made.parse_args(arguments)
    given = [each for text in found.words for each in from_words(text)]
    if found.fake:
        configuration.settings(configuration.located(found.source), Path(found.mountpoint).absolute(), given)
        return ExitStatus.OK
    if not _mounted(found.source, found.mountpoint):
        _mount(found.source, found.mountpoint, given, serve, by_mount8=True)
    return ExitStatus.OK


def _unhelped(arguments: Sequence[str]) -> int:
    made = parser.Parser(prog="umount.fuse.mountdl", description="Unmount for umount(8); see mountdl(1).")
    made.add_argument("mountpoint", metavar="MOUNTPOINT")
    made.add_argument("-f", "-l", action="store_true", dest="at_once", help="do not wait for the daemon")
    made.add_argument("-n", "-r", "-v", action="store_true", dest="ignored", help="accepted and ignored")
    made.add_argument("-N", dest="namespace", help=argparse.SUPPRESS)
    made.add_argument("-t", dest="ignored", help=argparse.SUPPRESS)
    found = made.parse_args(arguments)
    place = _path("MOUNTPOINT", found.mountpoint)
    if found.at_once or found.namespace is not None or not _known(place):
        os.execvp("umount", ["umount", "-i", *arguments])  # noqa: S606  # "-i": without us
    from mountdl.control import unmounting

    unmounting.run(place, _registry())
    return ExitStatus.OK


def _known(mountpoint: Path) -> bool:
    """Say whether we can unmount *mountpoint* and see who serves it: what `users` in fstab allows, umount(8) can."""
    from mountdl.control import mounttable

    mounted = mounttable.on(mounttable.resolved(mountpoint))
    try:
        _registry()
    except UsageError:
        return False
    return mounted is not None and (os.geteuid() == 0 or mounted.stranger is None)


def _mounted(source: str, mountpoint: str) -> bool:
    """Say whether *source* is on *mountpoint* already: `mount -a` asks again for all that fstab has."""
    from mountdl.control import configuration, mounttable

    place, wanted = mounttable.resolved(configuration.place("MOUNTPOINT", mountpoint)), configuration.located(source)
    if mounttable.awaited(place):
        # Who is not called by the automounter has it mount by this, and waits for that.
        with contextlib.suppress(OSError):
            os.scandir(place).close()
    entries = _registry().alive()
    return mounttable.on(place) is not None and (str(place), wanted) in {(e.mountpoint, e.source) for e in entries}
