# What contrib/quickstart and contrib/test share. Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
system=/usr/bin/python3

say() { printf '==> %s\n' "$*"; }
fail() { printf 'mountdl: %s\n' "$*" >&2; exit 1; }

# as_root COMMAND...: run it as root, if that may be.
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# install PACKAGE...: install the Debian packages among these that are missing.
install() {
    local package by_hand missing=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" = 'install ok installed' ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "this is no Debian or Ubuntu; install what these are there: ${missing[*]}"
    by_hand="as root run: apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || fail "installing needs root, and there is no sudo; $by_hand"
    say "installing ${missing[*]}"
    # In one call, as sudo may ask each time. An update that fails in a part, as at a repository that expired, may do.
    as_root env DEBIAN_FRONTEND=noninteractive sh -c \
        'apt-get -qq update; exec apt-get -qq install -y --no-install-recommends "$@" >/dev/null' sh "${missing[@]}" </dev/null ||
        fail "not all could be installed; $by_hand"
}

# python: print the first Python that is new enough; the system's is tried too when another is first in PATH.
python() {
    local each
    for each in python3 "$system" python3.14 python3.13 python3.12 python3.11; do
        if "$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$each"
            return
        fi
    done
    return 1
}

# pythons: print the packages of the system's Python, unless another that is new enough comes first.
pythons() {
    local chosen
    chosen=$(python) || chosen=$system
    [ "$chosen" != "$system" ] || echo python3 python3-dev python3-venv
}

# environment EXTRA: have .venv with mountdl and its dependencies, "[dev]" with those of the tests.
environment() {
    local extra=${1:-} chosen version stamp
    chosen=$(python) || fail "Python 3.11 or newer is needed; found: $(python3 --version 2>&1 || true)"
    version=$("$chosen" --version)
    stamp=$(cat "$root/pyproject.toml" - <<<"$extra $chosen $version" | sha256sum)
    if ! "$venv/bin/python" -c 'import mountdl, pyfuse3' 2>/dev/null || [ "$(cat "$venv/.installed$extra" 2>/dev/null)" != "$stamp" ]; then
        say "making $venv with $version"
        # Of another Python, as before an upgrade of the system, nothing can be used; its bin/pip is still there.
        [ "$("$venv/bin/python" -c 'import pip' 2>/dev/null && "$venv/bin/python" --version)" = "$version" ] ||
            "$chosen" -m venv --clear "$venv" </dev/null || fail "python3 -m venv failed"
        pip -e "$root$extra" || fail "pip could not install mountdl"
        # What was built against a libfuse that is gone pip takes for installed.
        "$venv/bin/python" -c 'import pyfuse3' 2>/dev/null || pip --no-cache-dir --force-reinstall --no-deps pyfuse3 ||
            fail "pip could not build pyfuse3"
        printf '%s\n' "$stamp" >"$venv/.installed$extra"
        "$venv/bin/python" -c 'import libtorrent' 2>/dev/null || pip --only-binary :all: 'libtorrent>=2.1' 2>/dev/null ||
            say "PyPI has no libtorrent for $version yet: torrents are read from mirrors and web seeds only." \
                "Another Python is used where it is first in PATH"
    fi
}

# pip ARGUMENT...: install into .venv.
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check install "$@" </dev/null; }

# device: is there FUSE?
device() {
    [ -e /dev/fuse ] || as_root modprobe fuse 2>/dev/null || true
    [ -e /dev/fuse ] || fail "there is no /dev/fuse, so nothing can be mounted here; load it (modprobe fuse), or start this container with --device /dev/fuse --cap-add SYS_ADMIN"
}
