"""What can be set, as frozen values, one class a layer.

Nothing else reads the environment or a configuration file; `control` turns command line, environment
and TOML into these.
"""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Limit:
    """A quota: so many bytes, or so many per cent of the disk."""

    amount: int = 0
    percent: float | None = None

    def of(self, disk: int) -> int:
        """Return it in bytes, on a disk of *disk* bytes."""
        return self.amount if self.percent is None else int(disk * self.percent / 100)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The store: *directory* on disk, and how much it may take; None: as much as there is."""

    directory: Path
    limit: Limit | None = None
    graduate: Path | None = None
    """Where files go when they are complete; None: nowhere."""
    option: str = "--cache-dir"
    """What names the directory, for who is told to choose another."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """HTTP: patience in seconds, and how to introduce ourselves.

    *stall_timeout* is the longest silence inside an answer, *lowest_rate* in bytes a second over a
    window of ten seconds is what counts as alive.
    """

    connect_timeout: float = 15.0
    stall_timeout: float = 10.0
    lowest_rate: float = 100.0
    max_connection_per_server: int = 8
    user_agent: str = "mountdl/0.1.0"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    referer: str | None = None
    load_cookies: Path | None = None
    save_cookies: Path | None = None
    check_certificate: bool = True
    ca_certificate: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Proxies as URLs, by the protocol they are for; *all* where that has none of its own, "" to go directly.

    *none* names hosts, domains and networks that are reached directly.
    """

    all: str | None = field(default=None, repr=False)
    http: str | None = field(default=None, repr=False)
    https: str | None = field(default=None, repr=False)
    ftp: str | None = field(default=None, repr=False)
    none: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CredentialSettings:
    """Who we are where a URL does not say; *netrc_path* is read if *use_netrc*. No text shows any of it."""

    http_user: str | None = field(default=None, repr=False)
    http_password: str | None = field(default=None, repr=False)
    ftp_user: str | None = field(default=None, repr=False)
    ftp_password: str | None = field(default=None, repr=False)
    netrc_path: Path | None = None
    use_netrc: bool = True


@dataclass(frozen=True, slots=True)
class SwarmSettings:
    """BitTorrent: rates in bytes a second, 0 for no limit.

    *ports* are tried in order; *interface* is an address or the name of a device, None for all. *seed_ratio* is
    what is given back of what a torrent holds, *seed_time* in seconds how long, None for ever; 0 gives nothing
    back once a file is whole. *trackers* are asked of every public torrent, *excluded_trackers* never ("*": none is).
    """

    ports: tuple[int, int] = (6881, 6999)
    interface: str | None = None
    dht: bool = True
    dht6: bool = True
    exchange: bool = True
    local_discovery: bool = False
    trackers: tuple[str, ...] = ()
    excluded_trackers: tuple[str, ...] = ()
    max_peers: int = 55
    require_encryption: bool = False
    seed_ratio: float = 1.0
    seed_time: float | None = None
    upload_rate: float = 0.0
    overall_upload_rate: float = 0.0
    download_rate: float = 0.0
    overall_download_rate: float = 0.0
    metadata_timeout: float = 60.0


def _ssh_directory() -> Path:
    try:
        return Path("~/.ssh").expanduser()
    except RuntimeError:  # a user of whom the machine knows nothing, as in a container
        return Path("/nonexistent/.ssh")


@dataclass(frozen=True, slots=True)
class SftpSettings:
    """SFTP: *directory* is ssh's own, with its configuration and known hosts; patience in seconds."""

    directory: Path = field(default_factory=_ssh_directory)
    connect_timeout: float = 15.0
    stall_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Downloads: times in seconds, rates in bytes a second.

    *background* is "all", "touched" or "off"; *split* bounds the connections for one file,
    *max_connection_per_server* those to one server; with *lane_each* each file may have one there before it is known
    that they pay. *download_rate* is that of each file,
    *overall_download_rate* of all; 0 is no limit.
    """

    read_timeout: float = 60.0
    background: str = "touched"
    split: int = 16
    max_connection_per_server: int = 8
    lane_each: bool = False
    download_rate: float = 0.0
    overall_download_rate: float = 0.0
    max_tries: int = 5
    retry_wait: float = 1.0
    require_verified: bool = False


@dataclass(frozen=True, slots=True)
class PreferenceSettings:
    """Choices among what a metalink offers; empty means no preference.

    *strict_names*: leave out files whose names are safe here, but that other programs refuse.
    """

    locations: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    os: tuple[str, ...] = ()
    version: str | None = None
    protocol: str | None = None
    base_uri: str | None = None
    strict_names: bool = False


def is_remote(source: str) -> bool:
    """Say whether the *source* of a mount is a URL or a magnet link rather than a path."""
    return "://" in source or source.lower().startswith("magnet:")


@dataclass(frozen=True, slots=True)
class RpcSettings:
    """The control server for aria2's clients: it listens on loopback's *port*, or with *listen_all* on every address.

    *secret* is what clients have to show; None: nothing. With *allow_origin_all* pages of browsers may ask, whosever.
    """

    enabled: bool = False
    port: int = 6800
    listen_all: bool = False
    secret: str | None = field(default=None, repr=False)
    allow_origin_all: bool = False


@dataclass(frozen=True, slots=True)
class MountSettings:
    """A mount: *source* is an absolute path or a URL, *mountpoint* absolute.

    *control_socket* is where the control server of this mount listens; None: it has none. *by_mount8*: mount(8) asked
    for it, and notes its options under the name that *source* is.
    """

    source: str
    mountpoint: Path
    foreground: bool = False
    allow_other: bool = False
    log: Path | None = None
    log_level: str = "notice"
    control_socket: Path | None = None
    by_mount8: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything for one mount."""

    mount: MountSettings
    store: StoreSettings
    http: HttpSettings = field(default_factory=HttpSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    preferences: PreferenceSettings = field(default_factory=PreferenceSettings)
    swarm: SwarmSettings = field(default_factory=SwarmSettings)
    proxies: ProxySettings = field(default_factory=ProxySettings)
    credentials: CredentialSettings = field(default_factory=CredentialSettings)
    sftp: SftpSettings = field(default_factory=SftpSettings)
    rpc: RpcSettings = field(default_factory=RpcSettings)
