# What contrib/quickstart and contrib/test share. Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '==> %s\n' "$*"; }
fail() { printf 'mountdl: %s\n' "$*" >&2; exit 1; }

# as_root COMMAND...: run it as root, or say what cannot be done.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "installing needs root, and there is no sudo; as root run: $*"
    fi
}

# install PACKAGE...: install the Debian packages among these that are missing.
install() {
    local package missing=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" = 'install ok installed' ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "this is no Debian or Ubuntu; install what these are there: ${missing[*]}"
    say "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null || fail "apt-get update failed"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null \
        >/dev/null || fail "apt-get could not install ${missing[*]}"
}

# python: print the first Python that is new enough; the system's is tried too when another is first in PATH.
python() {
    local each
    for each in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
        if "$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$each"
            return
        fi
    done
    return 1
}

# environment EXTRA: have .venv with mountdl and its dependencies, "[dev]" with those of the tests.
environment() {
    local extra=${1:-} chosen venv=$root/.venv stamp
    chosen=$(python) || fail "Python 3.11 or newer is needed; found: $(python3 --version 2>&1 || true)"
    [ "$chosen" != /usr/bin/python3 ] || install python3-dev python3-venv
    stamp=$(cat "$root/pyproject.toml" - <<<"$extra $chosen" | sha256sum)
    if ! "$venv/bin/python" -c 'import mountdl, pyfuse3' 2>/dev/null || [ "$(cat "$venv/.installed$extra" 2>/dev/null)" != "$stamp" ]; then
        say "making $venv with $("$chosen" --version)"
        [ -x "$venv/bin/pip" ] || "$chosen" -m venv --clear "$venv" </dev/null || fail "python3 -m venv failed"
        "$venv/bin/pip" install --quiet --disable-pip-version-check -e "$root$extra" </dev/null || fail "pip could not install mountdl"
        printf '%s\n' "$stamp" >"$venv/.installed$extra"
    fi
}

# device: is there FUSE?
device() {
    [ -e /dev/fuse ] || as_root modprobe fuse 2>/dev/null || true
    [ -e /dev/fuse ] || fail "there is no /dev/fuse, so nothing can be mounted here; load it (modprobe fuse), or start this container with --device /dev/fuse --cap-add SYS_ADMIN"
}
