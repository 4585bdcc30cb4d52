"""Options: one table, four places, one precedence."""

import contextlib
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.control import configuration, options, parser, values
from mountdl.control.given import Given, from_words, prepared
from mountdl.control.options import BY_NAME, OPTIONS, Option
from mountdl.errors import ExitStatus, UsageError
from mountdl.settings import Settings


def settings(*given: Given, file: str = "", directory: Path | None = None, **environment: str) -> Settings:
    """Return the settings for what is given in the three places."""
    if directory is not None:
        (directory / "mountdl").mkdir(exist_ok=True)
        (directory / "mountdl" / "config.toml").write_text(file)
        environment["XDG_CONFIG_HOME"] = str(directory)
    return configuration.settings("/s", Path("/m"), given, {"HOME": "/nowhere", **environment})


def parsed(*arguments: str) -> list[Given]:
    """Return the options that `mountdl mount ARGUMENTS /s /m` gives."""
    top, commands = parser.build()
    words = prepared([*arguments, "/s", "/m"], commands["mount"])
    found: list[Given] = top.parse_args(["mount", *words]).given
    return found


def refused(*arguments: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        settings(*parsed(*arguments))
    return caught.value


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_each_default_is_that_of_its_fields(option: Option) -> None:
    """What help and manual call the default is what happens without the option."""
    defaults = settings(XDG_CACHE_HOME="/c")
    for name in option.fields:
        section, _, field = name.partition(".")
        found = getattr(getattr(defaults, section), field)
        if option.name == "cache-dir":
            assert Path("/c/mountdl") == found
        elif option.default:
            assert option.read(option.default) == found
        else:
            assert found in (None, ())


def test_each_settings_field_of_an_option_exists_once() -> None:
    """No two options set one field, and none sets a field that is not there."""
    named = [name for option in OPTIONS for name in option.fields]
    known = {
        f"{section.name}.{field.name}"
        for section in fields(Settings)
        for field in fields(type(getattr(settings(), section.name)))
    }

    assert len(named) == len(set(named))
    assert set(named) <= known


SAMPLES = ("true", "false", "off", "7", "7-8", "2000-2001", "de", "debug", "http", "/x", "http://h:1", "a: b", "6900")


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_each_field_of_an_option_gets_its_value(option: Option) -> None:
    """An option that is read and goes nowhere is worse than none."""

    def fields_with(*given: Given) -> list[object]:
        found = settings(*given)
        return [getattr(getattr(found, section), name) for section, name in (each.split(".") for each in option.fields)]

    before = fields_with()
    changed = [False] * len(before)
    for text in SAMPLES:
        with contextlib.suppress(UsageError):
            after = fields_with(Given(option.name, text, option.name))
            changed = [was or new != old for was, new, old in zip(changed, after, before, strict=True)]

    assert all(changed)


def test_the_command_line_goes_before_the_environment_before_the_file(tmp_path: Path) -> None:
    """Each place beats those after it, option by option."""
    file = "split = 2\nmax-tries = 2\nretry_wait = 2\n"
    got = settings(
        Given("split", "4", "--split"), file=file, directory=tmp_path, MOUNTDL_SPLIT="3", MOUNTDL_MAX_TRIES="3"
    )

    assert (got.engine.split, got.engine.max_tries, got.engine.retry_wait) == (4, 3, 2.0)


def test_a_later_option_beats_an_earlier_one_also_across_o() -> None:
    """`-o` and long options are one place: the order decides."""
    assert settings(*parsed("-o", "split=2", "--split", "3")).engine.split == 3
    assert settings(*parsed("--split", "3", "-o", "split=2")).engine.split == 2


def test_headers_add_up_within_a_place() -> None:
    """--header may be given several times; a higher place replaces the whole list."""
    got = settings(*parsed("--header", "A: 1", "--header=B:2"), MOUNTDL_HEADER="C: 3")

    assert got.http.headers == (("A", "1"), ("B", "2"))


def test_flags_take_a_value_only_after_an_equals_sign() -> None:
    """As aria2 has it: the word after a flag is the SOURCE."""
    assert settings(*parsed("--allow-other")).mount.allow_other
    assert not settings(*parsed("--allow-other=false")).mount.allow_other
    assert not settings(*parsed("--check-certificate=false")).http.check_certificate
    assert settings(*parsed("-f")).mount.foreground


def test_words_of_mount_are_accepted_and_ignored() -> None:
    """What fstab says to others is none of our business."""
    text = "_netdev,nofail,noauto,user,x-systemd.automount,ro,nosuid,nodev,defaults,silent,default_permissions,allow_other,cache-dir=/a\\,b"

    assert [each.name for each in from_words(text)] == ["allow-other", "cache-dir"]
    assert Path("/a,b") == settings(*from_words(text)).store.directory


def test_connections_to_a_server_are_bounded_in_both_layers() -> None:
    """One option, two fields."""
    got = settings(*parsed("--max-connection-per-server=3"))

    assert (got.engine.max_connection_per_server, got.http.max_connection_per_server) == (3, 3)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--splitt", "3"], "--splitt: there is no such option; did you mean split?"),
        (["-o", "allow_othr"], "-o allow_othr: there is no such option; did you mean allow-other?"),
        (
            ["-o", "ro,uid=1000"],
            "-o uid: there is no such option: files are 0444 and belong to who mounts; allow_other",
        ),
        (["-o", "split"], "-o split: it needs a value: split=N"),
        (["--split", "0"], "--split: '0' is not allowed; allowed is a whole number from 1 to 64"),
        (["--background=some"], "--background: 'some' is not allowed; allowed is all, touched or off"),
        (["--header", "a\r\nb: c"], "--header: this value is not allowed; allowed is a header"),
        (["--read-timeout", "nan"], "--read-timeout: 'nan' is not allowed; allowed is a number of seconds"),
        (["--lowest-speed-limit", "-1"], "--lowest-speed-limit"),
        (["--metalink-location", "deu"], "'deu' is not allowed; allowed is one or more countries as two letters"),
        (["--metalink-base-uri", "file:///"], "allowed is a URL that begins with http://"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], named: str) -> None:
    """Option, value and what is allowed; exit status 28."""
    error = refused(*arguments)

    assert named in str(error)
    assert ExitStatus.BAD_OPTION is error.exit_status


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("splt = 3", "config.toml: splt: there is no such option; did you mean split?"),
        ("split = 99", "config.toml: split: '99' is not allowed"),
        ("split = {a = 1}", "config.toml: split: allowed is"),
        ("split =", "config.toml: not TOML"),
        ("[mount]\nsplit = 3", "config.toml: mount: there is no such option"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, file: str, named: str) -> None:
    """A typo in the file is no less wrong than one on the command line."""
    with pytest.raises(UsageError) as caught:
        settings(file=file, directory=tmp_path)

    assert named in str(caught.value)


def test_the_file_speaks_toml(tmp_path: Path) -> None:
    """Truths, numbers and lists are TOML's own."""
    file = 'allow-other = true\nretry-wait = 2.5\nheader = ["A: 1", "B: 2"]\nmetalink_location = ["de", "fr"]\n'
    got = settings(file=file, directory=tmp_path)

    assert (got.mount.allow_other, got.engine.retry_wait) == (True, 2.5)
    assert (got.http.headers, got.preferences.locations) == ((("A", "1"), ("B", "2")), ("de", "fr"))


@pytest.mark.parametrize(
    "words",
    [
        "max-tries=0", "retry-wait=0", "metalink-preferred-protocol=none", "lowest-speed-limit=0", "bt-max-peers=0",
        "max-download-limit=0", "max-overall-upload-limit=50K", "seed-ratio=0.0", "seed-time=0", "listen-port=6881-6999",
        "all-proxy=localhost:3128", "check-certificate=false", "enable-dht=false", "log-level=notice", "timeout=600",
    ],
)  # fmt: skip
def test_what_aria2_allows_is_allowed(words: str) -> None:
    """Who has a configuration file of aria2's need not look up the values of what has the same name here."""
    assert configuration.settings("/s", Path("/m"), from_words(words), {})


def test_a_flag_with_a_wrong_value_is_called_as_it_was_typed() -> None:
    for arguments, name in ((("--enable-dht=maybe",), "--enable-dht"), (("-o", "enable_dht=maybe"), "-o enable_dht")):
        assert str(refused(*arguments)) == f'{name}: \'maybe\' is not allowed; allowed is "true" or "false"'


def test_a_mirror_is_never_asked_again_without_a_pause() -> None:
    """Not with aria2's default of 0 seconds either, which would have a dead mirror asked a thousand times a second."""
    got = configuration.settings("/s", Path("/m"), from_words("retry-wait=0,max-tries=0"), {})

    assert (got.engine.retry_wait, got.engine.max_tries) == (0.1, 0)


def test_a_variable_that_sets_nothing_is_told() -> None:
    """A typo in the environment can't be an error: it may be somebody else's variable."""
    assert configuration.unknown_variables({"MOUNTDL_SPLT": "1", "MOUNTDL_SPLIT": "1", "HOME": "/"}) == ["MOUNTDL_SPLT"]


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("16K", 16384), ("1m", 1 << 20), ("1.5G", 3 << 29), ("2T", 2 << 40), ("3 MiB", 3 << 20)],
)
def test_sizes_have_units_of_1024(text: str, count: int) -> None:
    """As aria2 counts."""
    assert count == values.size(text)


@given(st.sampled_from(OPTIONS), st.text())
def test_any_text_is_a_value_or_a_usage_error(option: Option, text: str) -> None:
    """Nothing that a user can write ends in a traceback."""
    with contextlib.suppress(UsageError):
        options.read(option, text, option.name)


@given(st.text())
def test_any_o_is_read_or_refused(text: str) -> None:
    """`-o` takes what mount(8) hands over."""
    try:
        found = from_words(text)
    except UsageError:
        return
    assert {each.name for each in found} <= BY_NAME.keys()


def test_who_has_no_home_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of whom the machine knows nothing, as of DynamicUser= or in a container: it was a traceback."""

    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    found = configuration.settings("/s", Path("/m"), [], {})
    assert (found.store.directory, found.credentials.netrc_path) == (Path("/var/cache/mountdl"), None)
    assert not found.sftp.directory.exists()
