"""The options: one table, from which command line, `-o`, environment, file and manual are read and checked.

Law: an option stands here only if it does something. Its default is that of the settings field it sets.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from mountdl.control import values
from mountdl.control.text import quoted, short
from mountdl.errors import UsageError

GROUPS = {
    "mount": "the mount",
    "store": "the store and what is fetched",
    "patience": "connections and patience with a mirror",
    "metalink": "choices among what a metalink offers",
    "proxy": "proxies",
    "http": "HTTP and TLS",
    "login": "user names and passwords",
    "swarm": "BitTorrent",
    "rpc": "control by aria2's clients",
    "log": "messages",
}
"""Groups in the order in which help and manual show them."""


class Option(NamedTuple):
    """A long option. *read* makes its value, which goes to every field named by *fields* ("section.field").

    *default* is what help and manual show. A *flag* may stand without a value and then is true; the values of
    a *repeated* one add up; *short* is its one-letter form. The value of a *secret* one stands in no message.
    """

    name: str
    fields: tuple[str, ...]
    read: Callable[[str], object]
    metavar: str
    default: str
    help: str
    group: str
    flag: bool = False
    repeated: bool = False
    short: str | None = None
    secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"MOUNTDL_{self.name.replace('-', '_').upper()}"


OPTIONS: tuple[Option, ...] = (
    Option("foreground", ("mount.foreground",), values.truth, "true|false", "false",
           "stay in the foreground and write messages to standard error", "mount", flag=True, short="f"),
    Option("allow-other", ("mount.allow_other",), values.truth, "true|false", "false",
           "let other users read the mount", "mount", flag=True),
    Option("cache-dir", ("store.directory",), values.path, "DIR", "$XDG_CACHE_HOME/mountdl",
           "where fetched bytes are kept", "store"),
    Option("cache-size", ("store.limit",), values.limit, "SIZE|PERCENT%", "0",
           "most that fetched bytes may take on disk (20G, 10%); what is oldest in use goes; 0: no bound", "store"),
    Option("graduate", ("store.graduate",), values.path, "DIR", "",
           "hand each file out to this directory as it becomes complete, its whole digest checked", "store"),
    Option("background", ("engine.background",), values.OneOf("all", "touched", "off"), "WHICH", "touched",
           "complete in idle bandwidth: all files, those that a reader really uses (touched), or none (off)", "store"),
    Option("require-verified", ("engine.require_verified",), values.truth, "true|false", "false",
           "refuse files that no digest can ever verify", "store", flag=True),
    Option("read-timeout", ("engine.read_timeout",), values.seconds(1), "SECONDS", "60",
           "longest time that one read may wait before it fails", "patience"),
    Option("split", ("engine.split",), values.whole(1, 64), "N", "16",
           "connections for one file", "patience", short="s"),
    Option("max-connection-per-server", ("engine.max_connection_per_server", "http.max_connection_per_server"),
           values.whole(1, 64), "N", "8", "connections to one server", "patience", short="x"),
    Option("max-download-limit", ("engine.download_rate", "swarm.download_rate"), values.rate, "RATE", "0",
           "bytes a second that each file is fetched with; 0 for no limit", "patience"),
    Option("max-overall-download-limit", ("engine.overall_download_rate", "swarm.overall_download_rate"), values.rate,
           "RATE", "0", "bytes a second that all files together are fetched with; 0 for no limit", "patience"),
    Option("connect-timeout", ("http.connect_timeout", "sftp.connect_timeout"), values.seconds(0.1, 600),
           "SECONDS", "15", "longest time for a connection to come up", "patience"),
    Option("timeout", ("http.stall_timeout", "sftp.stall_timeout"), values.seconds(0.1, 600), "SECONDS", "10",
           "longest silence of a mirror inside an answer", "patience", short="t"),
    Option("max-tries", ("engine.max_tries",), values.whole(0, 1000), "N", "5",
           "failures in a row after which a mirror is left alone; 0 for no limit", "patience", short="m"),
    Option("retry-wait", ("engine.retry_wait",), values.pause, "SECONDS", "1",
           "wait before a mirror that failed is asked again, 0.1 at least; it doubles with each failure", "patience"),
    Option("lowest-speed-limit", ("http.lowest_rate",), values.rate, "RATE", "100",
           "bytes a second below which a mirror counts as stalled; 0 for none", "patience"),
    Option("metalink-location", ("preferences.locations",), values.countries, "CC[,CC]", "",
           "countries whose mirrors are preferred, as two letters", "metalink"),
    Option("metalink-language", ("preferences.languages",), values.words, "LANGUAGE[,LANGUAGE]", "",
           "show files in these languages", "metalink"),
    Option("metalink-os", ("preferences.os",), values.words, "OS[,OS]", "",
           "show files for these operating systems", "metalink"),
    Option("metalink-version", ("preferences.version",), values.line, "VERSION", "",
           "show files of this version", "metalink"),
    Option("metalink-preferred-protocol", ("preferences.protocol",),
           values.OneOf("http", "https", "ftp", "ftps", "sftp", "none"), "PROTOCOL", "",
           "prefer mirrors that speak http, https, ftp, ftps or sftp; none for no preference", "metalink"),
    Option("metalink-base-uri", ("preferences.base_uri",), values.url, "URL", "",
           "resolve relative URLs of metalinks against this one", "metalink"),
    Option("strict-names", ("preferences.strict_names",), values.truth, "true|false", "false",
           "leave out files whose names begin with a blank, dot or tilde, end with a blank, or have one of <>|",
           "metalink", flag=True),
    Option("all-proxy", ("proxies.all",), values.proxy, "PROXY", "",
           "proxy for every protocol, http://[user:password@]host:port or socks5://...; empty: none", "proxy",
           secret=True),
    Option("http-proxy", ("proxies.http",), values.proxy, "PROXY", "",
           "proxy for http; empty: none", "proxy", secret=True),
    Option("https-proxy", ("proxies.https",), values.proxy, "PROXY", "",
           "proxy for https; empty: none", "proxy", secret=True),
    Option("ftp-proxy", ("proxies.ftp",), values.proxy, "PROXY", "",
           "proxy for ftp and ftps; empty: none", "proxy", secret=True),
    Option("no-proxy", ("proxies.none",), values.words, "HOST[,HOST]", "",
           'hosts, domains and networks (10.0.0.0/8) to reach without a proxy; "*" for all', "proxy"),
    Option("header", ("http.headers",), values.header, "HEADER", "",
           'a header to send with each request, like "Name: value"; may be given several times', "http", repeated=True,
           secret=True),
    Option("user-agent", ("http.user_agent",), values.line, "NAME", "mountdl/0.1.0",
           "how to introduce ourselves to a mirror", "http", short="U"),
    Option("referer", ("http.referer",), values.line, "URL", "",
           "what to send as the page that led to a file", "http"),
    Option("load-cookies", ("http.load_cookies",), values.path, "FILE", "",
           "send the cookies in this file: Netscape's text, or the database of Firefox or Chromium", "http"),
    Option("save-cookies", ("http.save_cookies",), values.path, "FILE", "",
           "write all cookies to this file, as Netscape's text, at the end", "http"),
    Option("check-certificate", ("http.check_certificate",), values.truth, "true|false", "true",
           "verify the certificates of mirrors", "http", flag=True),
    Option("ca-certificate", ("http.ca_certificate",), values.path, "FILE", "",
           "trust the authorities in this PEM file", "http"),
    Option("certificate", ("http.certificate",), values.path, "FILE", "",
           "show servers that ask for one this certificate, a PEM file", "http"),
    Option("private-key", ("http.private_key",), values.path, "FILE", "",
           "the certificate's key, a PEM file without a passphrase; without it, the certificate's file has it", "http"),
    Option("http-user", ("credentials.http_user",), values.line, "USER", "",
           "user name for servers of http and https that ask for one", "login", secret=True),
    Option("http-passwd", ("credentials.http_password",), values.line, "PASSWORD", "",
           "its password; other users of this machine can see it on a command line", "login", secret=True),
    Option("ftp-user", ("credentials.ftp_user",), values.line, "USER", "",
           "user name for servers of ftp and ftps", "login", secret=True),
    Option("ftp-passwd", ("credentials.ftp_password",), values.line, "PASSWORD", "",
           "its password; other users of this machine can see it on a command line", "login", secret=True),
    Option("netrc-path", ("credentials.netrc_path",), values.path, "FILE", "~/.netrc",
           "where user names and passwords of hosts stand; used only if nobody else can read it", "login"),
    Option("no-netrc", ("credentials.use_netrc",), values.falsehood, "true|false", "false",
           "do not read it", "login", flag=True),
    Option("listen-port", ("swarm.ports",), values.ports, "PORT[-PORT]", "6881-6999",
           "ports to listen on for peers; the first that is free is taken", "swarm"),
    Option("interface", ("swarm.interface",), values.line, "ADDRESS", "",
           "address or network device to meet peers on and connect to them by, instead of all", "swarm"),
    Option("enable-dht", ("swarm.dht",), values.truth, "true|false", "true",
           "find peers by the distributed hash table", "swarm", flag=True),
    Option("enable-dht6", ("swarm.dht6",), values.truth, "true|false", "true",
           "with --enable-dht, find peers by it over IPv6 too", "swarm", flag=True),
    Option("enable-peer-exchange", ("swarm.exchange",), values.truth, "true|false", "true",
           "learn of peers from peers", "swarm", flag=True),
    Option("bt-enable-lpd", ("swarm.local_discovery",), values.truth, "true|false", "false",
           "find peers in the local network by multicast", "swarm", flag=True),
    Option("bt-tracker", ("swarm.trackers",), values.words, "URL[,URL]", "",
           "trackers to ask for peers of every torrent that is not private", "swarm"),
    Option("bt-exclude-tracker", ("swarm.excluded_trackers",), values.words, "URL[,URL]", "",
           'trackers never to ask; "*" for all that torrents name', "swarm"),
    Option("bt-max-peers", ("swarm.max_peers",), values.whole(0, 10000), "N", "55",
           "peers of one torrent at most; 0 for no limit", "swarm"),
    Option("bt-require-crypto", ("swarm.require_encryption",), values.truth, "true|false", "false",
           "talk to peers only if what is said is encrypted", "swarm", flag=True),
    Option("seed-ratio", ("swarm.seed_ratio",), values.ratio, "RATIO", "1.0",
           "give back what is here of a torrent so many times; 0 for no limit", "swarm"),
    Option("seed-time", ("swarm.seed_time",), values.minutes, "MINUTES", "",
           "give it back for so many minutes at most, while mounted; 0 for not at all", "swarm"),
    Option("bt-metadata-timeout", ("swarm.metadata_timeout",), values.seconds(1, 3600), "SECONDS", "60",
           "longest wait for what is in a magnet link's torrent, before it is asked for again", "swarm"),
    Option("max-upload-limit", ("swarm.upload_rate",), values.rate, "RATE", "0",
           "bytes a second given to the peers of one torrent; 0 for no limit", "swarm"),
    Option("max-overall-upload-limit", ("swarm.overall_upload_rate",), values.rate, "RATE", "0",
           "bytes a second given to all peers; 0 for no limit", "swarm"),
    Option("enable-rpc", ("rpc.enabled",), values.truth, "true|false", "false",
           "answer clients of aria2, like AriaNg and aria2p", "rpc", flag=True),
    Option("rpc-listen-port", ("rpc.port",), values.whole(1024, 65535), "PORT", "6800",
           "port to answer them on", "rpc"),
    Option("rpc-listen-all", ("rpc.listen_all",), values.truth, "true|false", "false",
           "answer them on all addresses, not only this machine's own; needs --rpc-secret", "rpc", flag=True),
    Option("rpc-secret", ("rpc.secret",), values.line, "TOKEN", "",
           "what they have to show; other users of this machine can see it on a command line", "rpc", secret=True),
    Option("rpc-allow-origin-all", ("rpc.allow_origin_all",), values.truth, "true|false", "false",
           "let pages of any web site ask, like AriaNg", "rpc", flag=True),
    Option("log", ("mount.log",), values.path, "FILE", "",
           "append messages to this file; without it they go to the system's log, in the foreground to standard error",
           "log", short="l"),
    Option("log-level", ("mount.log_level",), values.OneOf("debug", "info", "notice", "warn", "error"), "LEVEL",
           "notice", "least important messages to log: debug, info, notice, warn or error", "log"),
)  # fmt: skip
BY_NAME = {option.name: option for option in OPTIONS}


def find(name: str, shown: str, known: Iterable[str] = BY_NAME) -> str:
    """Return the option that *name* means, "_" as good as "-". UsageError, naming it as *shown*, if there is none."""
    plain = name.replace("_", "-")
    if plain in known:
        return plain
    import difflib

    near = difflib.get_close_matches(plain.lower(), list(known), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"{short(shown, 300)}: there is no such option{hint}")


def read(option: Option, text: str, shown: str) -> object:
    """Return the value of *text* for *option*. UsageError, naming it as *shown*, when it is not allowed."""
    try:
        return option.read(text)
    except ValueError as error:
        what = "this value" if option.secret else quoted(text)
        raise UsageError(f"{shown}: {what} is not allowed; allowed is {error}") from error
