"""From command line, environment and file to `Settings`, in this order of precedence.

The only place that reads the environment for settings.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mountdl.control import options, values
from mountdl.control.given import Given
from mountdl.control.options import BY_NAME, OPTIONS
from mountdl.control.text import quoted
from mountdl.errors import ExitStatus, UsageError
from mountdl.settings import (
    CredentialSettings,
    EngineSettings,
    HttpSettings,
    MountSettings,
    PreferenceSettings,
    ProxySettings,
    RpcSettings,
    Settings,
    SftpSettings,
    StoreSettings,
    SwarmSettings,
    is_remote,
)

MAX_FILE = 1 << 20
"""Bytes of a configuration file that are read at most."""


def from_environment(environment: Mapping[str, str]) -> list[Given]:
    """Return what `MOUNTDL_...` variables give."""
    found = []
    for option in OPTIONS:
        text = environment.get(option.variable)
        if text:
            found.append(Given(option.name, text, option.variable))
    return found


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return the names of `MOUNTDL_...` variables that set nothing."""
    known = {option.variable for option in OPTIONS}
    return sorted(name for name in environment if name.startswith("MOUNTDL_") and name not in known)


def from_file(path: Path) -> list[Given]:
    """Return what the configuration file *path* gives; nothing when there is none. UsageError when it is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}", ExitStatus.IO) from error
    if len(data) > MAX_FILE:
        raise UsageError(f"{path}: larger than {MAX_FILE} bytes")
    import tomllib

    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    found = []
    for key, value in document.items():
        shown = f"{path}: {key}"
        name = options.find(key, shown)
        found += [Given(name, text, shown) for text in _texts(value, shown, repeated=BY_NAME[name].repeated)]
    return found


def _texts(value: object, shown: str, *, repeated: bool) -> list[str]:
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, int | float | str):
        return [str(value)]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value if repeated else [",".join(value)]
    raise UsageError(f"{shown}: allowed is a text, a number, true or false, or a list of texts")


def config_file(environment: Mapping[str, str]) -> Path:
    """Return where the configuration file is looked for."""
    return _base(environment, "XDG_CONFIG_HOME", ".config") / "mountdl" / "config.toml"


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Return where the store is unless an option says otherwise."""
    return _base(environment, "XDG_CACHE_HOME", ".cache") / "mountdl"


def _base(environment: Mapping[str, str], variable: str, below_home: str) -> Path:
    # XDG Base Directory Specification: a relative path in a variable is invalid and ignored.
    given = Path(environment.get(variable, ""))
    if given.is_absolute():
        return given
    try:
        return Path.home() / below_home
    except RuntimeError:
        return Path("/var/cache") if below_home == ".cache" else Path("/etc")


def settings(
    source: str, mountpoint: Path, given: Sequence[Given], environment: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings of one mount. UsageError for whatever is not allowed, wherever it was given."""
    if environment is None:
        environment = os.environ
    fields: dict[str, object] = {}
    for layer in (from_file(config_file(environment)), from_environment(environment), given):
        fields |= _fields(layer)
    fields.setdefault("store.directory", cache_directory(environment))
    fields.setdefault("credentials.netrc_path", home_netrc())
    fields = _proxies_of(environment, fields) | fields

    def section(name: str) -> dict[str, object]:
        return {key.partition(".")[2]: value for key, value in fields.items() if key.startswith(f"{name}.")}

    return Settings(
        MountSettings(source=source, mountpoint=mountpoint, **section("mount")),  # type: ignore[arg-type]
        StoreSettings(**section("store")),  # type: ignore[arg-type]
        HttpSettings(**section("http")),  # type: ignore[arg-type]
        EngineSettings(**section("engine")),  # type: ignore[arg-type]
        PreferenceSettings(**section("preferences")),  # type: ignore[arg-type]
        SwarmSettings(**section("swarm")),  # type: ignore[arg-type]
        ProxySettings(**section("proxies")),  # type: ignore[arg-type]
        CredentialSettings(**section("credentials")),  # type: ignore[arg-type]
        SftpSettings(**section("sftp")),  # type: ignore[arg-type]
        RpcSettings(**section("rpc")),  # type: ignore[arg-type]
    )


def home_netrc() -> Path | None:
    """Return the `.netrc` that is read when no option names another."""
    try:
        return Path.home() / ".netrc"
    except RuntimeError:
        return None


def _proxies_of(environment: Mapping[str, str], fields: Mapping[str, object]) -> dict[str, object]:
    """Return the settings that the usual variables give; `--all-proxy` goes before those of each protocol."""
    found: dict[str, object] = {}
    for name in ("all", "http", "https", "ftp"):
        # HTTP_PROXY in capitals is what a web server makes of a visitor's header "Proxy" for its programs.
        capital = environment.get(f"{name.upper()}_PROXY") if name != "http" else None
        text = environment.get(f"{name}_proxy") or capital
        if text and "proxies.all" not in fields:
            try:
                found[f"proxies.{name}"] = values.proxy(text)
            except ValueError as error:
                raise UsageError(f"{name}_proxy: this value is not allowed; allowed is {error}") from error
    none = environment.get("no_proxy") or environment.get("NO_PROXY")
    if none:
        found["proxies.none"] = tuple(word.strip() for word in none.replace(" ", ",").split(",") if word.strip())
    return found


def _fields(layer: Iterable[Given]) -> dict[str, object]:
    """Return the settings fields that one layer sets; a later word beats an earlier one."""
    fields: dict[str, object] = {}
    for each in layer:
        option = BY_NAME[each.name]
        value = options.read(option, each.text, each.shown)
        for field in option.fields:
            earlier = fields.get(field, ())
            fields[field] = (*earlier, value) if option.repeated and isinstance(earlier, tuple) else value
    return fields


def located(source: str) -> str:
    """Return *source* with a path made absolute; URLs and magnet links stay as they are. Raises UsageError."""
    if is_remote(source):
        return source
    return str(place("SOURCE", source))


def place(name: str, text: str) -> Path:
    """Return the path that the argument *name* is. Raises UsageError when it is none."""
    try:
        return values.path(text)
    except ValueError as error:
        raise UsageError(f"{name}: {quoted(text)} is not allowed; allowed is {error}") from error
