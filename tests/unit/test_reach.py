"""Who we are at a server, and which proxy leads there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mountdl.control import configuration
from mountdl.control.given import Given
from mountdl.errors import UsageError
from mountdl.settings import CredentialSettings, ProxySettings
from mountdl.sources.credentials import Credentials, Login, from_url, netrc
from mountdl.sources.proxies import Proxy, excepted, parse, proxy_for


def credentials(tmp_path: Path, text: str = "", mode: int = 0o600, **options: str) -> Credentials:
    path = tmp_path / "netrc"
    path.write_text(text)
    path.chmod(mode)
    return Credentials(CredentialSettings(**options, netrc_path=path))  # type: ignore[arg-type]


def test_a_url_goes_before_options_and_those_before_netrc(tmp_path: Path) -> None:
    """The nearer somebody is to the address, the more what he says counts."""
    here = credentials(tmp_path, "machine a login n password m", http_user="o", http_password="p")

    assert here.login("http://u:w%40@a/x") == Login("u", "w@")
    assert here.login("http://a/x") == Login("o", "p")
    assert here.login("ftp://a/x") == Login("n", "m")
    assert here.login("ftp://n@a/x") == Login("n", "m")
    assert here.login("ftp://other@a/x") == Login("other", "")
    assert here.login("sftp://b/x") is None


def test_options_are_not_for_where_a_redirect_led(tmp_path: Path) -> None:
    """What the user gave for his mirrors is no business of a server that one of them names."""
    here = credentials(tmp_path, "machine b login n password m", http_user="o", http_password="p")

    assert here.login("https://a/x", redirected=True) is None
    assert here.login("https://b/x", redirected=True) == Login("n", "m")


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o602])
def test_a_netrc_that_others_can_touch_is_not_used(tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    """It is warned of once, with what to do and without what stands in it."""
    here = credentials(tmp_path, "default login n password hunter2", mode)

    assert here.login("http://a/") is None
    assert here.login("http://a/") is None
    assert len(caplog.records) == 1
    assert "chmod 600" in caplog.text
    assert "hunter2" not in caplog.text
    caplog.clear()


def test_netrc_with_all_its_oddities() -> None:
    """Comments, macros, quotes, words on lines of their own, several hosts, the first of one counts."""
    text = """# a comment
machine A.example
  login "with blank"
  password p#1
machine b login x password y account z
macdef init
machine c login no password no

machine b login second password second
default login anonymous password me@
"""
    assert netrc(text) == {
        "a.example": Login("with blank", "p#1"),
        "b": Login("x", "y"),
        "": Login("anonymous", "me@"),
    }


def test_no_text_shows_a_password() -> None:
    """Neither of a login, nor of a proxy, nor of the settings."""
    settings = CredentialSettings("u", "hunter2", "u", "hunter2")
    proxy = parse("http://u:hunter2@host:1")
    texts = [repr(from_url("http://u:hunter2@a")), str(proxy), repr(proxy), repr(settings)]
    texts.append(repr(ProxySettings(all="http://u:hunter2@host:1")))

    assert not any("hunter2" in text for text in texts)


@pytest.mark.parametrize(
    ("pattern", "host", "port", "expected"),
    [
        ("*", "a", 1, True),
        ("example.org", "example.org", 80, True),
        ("example.org", "www.Example.org", 80, True),
        (".example.org", "example.org", 80, True),
        ("*.example.org", "a.example.org", 80, True),
        ("example.org", "badexample.org", 80, False),
        ("example.org:81", "example.org", 80, False),
        ("example.org:80", "example.org", 80, True),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("10.0.0.0/8", "ten.example", 80, False),
        ("::1", "::1", 80, True),
        ("[::1]:80", "::1", 80, True),
        ("", "a", 80, False),
    ],
)
def test_hosts_without_a_proxy(pattern: str, host: str, port: int, expected: bool) -> None:
    """Names with all below them, addresses, networks and ports."""
    assert excepted((pattern,), host, port) == expected


def test_each_protocol_has_its_proxy() -> None:
    """Its own, else the one for all; an empty one is none."""
    settings = ProxySettings(all="socks5://s", http="h:1", ftp="", none=("local",))

    assert proxy_for(settings, "http", "a", 80) == Proxy("http", "h", 1)
    assert proxy_for(settings, "https", "a", 443) == Proxy("socks5", "s", 1080)
    assert proxy_for(settings, "sftp", "a", 22) == Proxy("socks5", "s", 1080)
    assert proxy_for(settings, "ftps", "a", 990) is None
    assert proxy_for(settings, "http", "x.local", 80) is None


@pytest.mark.parametrize("text", ["gopher://a", "http://", "http://a:b:c", "http://a:99999", "http://a b"])
def test_what_is_no_proxy(text: str) -> None:
    """It is refused with what is allowed."""
    with pytest.raises(ValueError, match="a proxy like"):
        parse(text)


def test_a_proxy_by_tls_is_refused_with_a_way_out() -> None:
    """What to do is said; the login in the address is not."""
    for text in ("https://me:hunter2@proxy", "HTTPS://me:hunter2@proxy:443/"):
        with pytest.raises(ValueError, match="TLS to the proxy itself is not spoken; name its plain port") as caught:
            parse(text)
        assert "hunter2" not in str(caught.value)


def test_proxies_from_environment_and_options(tmp_path: Path) -> None:
    """The usual variables count where no option speaks; HTTP_PROXY never does; a bad one is named, not shown."""

    def settings(environment: dict[str, str], *given: Given) -> ProxySettings:
        environment |= {"XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
        return configuration.settings("s", Path("/m"), given, environment).proxies

    variables = {"http_proxy": "h:1", "HTTP_PROXY": "evil:1", "HTTPS_PROXY": "s:2", "no_proxy": "a, b"}
    told = settings(dict(variables))
    assert (told.http, told.https, told.all, told.none) == ("h:1", "s:2", None, ("a", "b"))
    told = settings(dict(variables), Given("all-proxy", "p:3", "--all-proxy"))
    assert (told.http, told.all) == (None, "p:3")
    told = settings(dict(variables), Given("http-proxy", "", "--http-proxy"))
    assert (told.http, told.https) == ("", "s:2")
    assert settings({"HTTP_PROXY": "evil:1"}).http is None
    for bad in ({"http_proxy": "gopher://hunter2"},):
        with pytest.raises(UsageError) as caught:
            settings(bad)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(UsageError) as caught:
        settings({}, Given("all-proxy", "gopher://hunter2", "--all-proxy"))
    assert "hunter2" not in str(caught.value)
