# Shared by scripts/demo and scripts/test: optional system packages and uv. Sourced, not run.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
ROOT=$PWD

declare -A PACKAGES=(
    [libegl1]="rendering without a display"
    [libgl1-mesa-dri]="rendering without a display"
    [libosmesa6]="rendering without a display"
    [ffmpeg]="tests of video files"
    [chromium]="browser tests"
    [chromium-driver]="browser tests"
)

installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
}

# Print the command prefix that runs a command as root, or fail.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        echo env
    elif sudo -n true 2>/dev/null; then
        echo sudo -n
    else
        return 1
    fi
}

# Install the named Debian packages if that is possible without a password; otherwise report what will be skipped.
system_packages() {
    local missing=() package root
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    if command -v apt-get >/dev/null && root=$(as_root); then
        echo "installing ${missing[*]}" >&2
        if $root apt-get update -qq >&2 &&
            DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
            return
        fi
    fi
    for package in "${missing[@]}"; do
        echo "$package is not installed: skipping ${PACKAGES[$package]} (apt-get install $package)" >&2
    done
}

# Run apt-get with a state of its own: no root is needed, and nothing is installed.
private_apt() {
    local state=$ROOT/.uv/apt
    mkdir -p "$state"/{state/lists/partial,cache/archives/partial}
    apt-get -o "Dir::State=$state/state" -o "Dir::Cache=$state/cache" -o Dir::State::status=/var/lib/dpkg/status "$@"
}

# Unpack a Debian package into a folder without installing it.
unpack_package() {
    local package=$1 folder=$2
    command -v apt-get >/dev/null || return 1
    private_apt update -qq >&2 || return 1
    mkdir -p "$folder"
    (cd "$folder" && private_apt download -qq "$package" >&2 && dpkg-deb -x "$package"_*.deb . && rm "$package"_*.deb)
}

# Unpack promtool into .uv/promtool: installing its package would also start a Prometheus server.
ensure_promtool() {
    if command -v promtool >/dev/null || [ -x .uv/promtool/usr/bin/promtool ]; then
        return
    fi
    echo "unpacking promtool into .uv" >&2
    if unpack_package prometheus .uv/promtool; then
        rm -f .uv/promtool/usr/bin/prometheus
    else
        echo "promtool is not installed: skipping the check of the metrics (apt-get install prometheus)" >&2
    fi
}

# Print a command that runs pip, fetching pip from Debian's packages if Python came without it.
find_pip() {
    if python3 -m pip --version >/dev/null 2>&1; then
        echo python3 -m pip
        return
    fi
    local folder=$PWD/.uv/pip
    unpack_package python3-pip-whl "$folder" || return 1
    echo python3 "$(ls "$folder"/usr/share/python-wheels/pip-*.whl)/pip"
}

# Put uv on the PATH; install it into .uv/ if it is absent.
ensure_uv() {
    if uv --version >/dev/null 2>&1; then
        return
    fi
    export PATH="$PWD/.uv/bin:$PATH"
    if ! uv --version >/dev/null 2>&1; then
        echo "installing uv into .uv" >&2
        local pip
        pip=$(find_pip) || {
            echo "uv is not installed, and neither is pip; install one of them: apt-get install python3-pip" >&2
            exit 2
        }
        $pip install --quiet --disable-pip-version-check --target .uv uv
    fi
}
