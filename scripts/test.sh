#!/usr/bin/env bash
# All tests of the workspace, one command:
#
#   scripts/test.sh                                    everything
#   scripts/test.sh -p litestream-cli --test cli       what these arguments of cargo test choose
#
# Before the run it fetches the reference binaries (scripts/install-reference.sh) and the servers that backends
# are tested against (scripts/install-servers.sh). When they are there, a test that would skip for want of one
# fails instead; when they cannot be had, the script says so loudly and the rest of the tests runs.
#
# The last line is `N passed, N failed`, summed over all test binaries. The exit code is cargo's.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 2

scripts/install-reference.sh
case $? in
    0) export LITESTREAM_REQUIRE_REFERENCE=1 ;;
    3) echo "going on without the reference binaries" >&2 ;;
    *) exit 2 ;;
esac

scripts/install-servers.sh
case $? in
    0) export LITESTREAM_REQUIRE_SERVERS=1 ;;
    3) echo "going on without the servers" >&2 ;;
    *) exit 2 ;;
esac

if [ $# -eq 0 ]; then
    set -- --workspace
fi
# Of the workspace in any case: tests of one crate start programs of another.
cargo test --locked --workspace --no-run || exit 1

log=$(mktemp) || exit 2
trap 'rm -f "$log"' EXIT
cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

# The closing line of each test binary and of each crate's examples in its documentation:
#   test result: ok. 12 passed; 0 failed; 1 ignored; ...
awk '
    /^test result: / {
        for (i = 2; i < NF; i++) {
            if ($(i + 1) ~ /^passed;/) passed += $i
            if ($(i + 1) ~ /^failed;/) failed += $i
            if ($(i + 1) ~ /^ignored;/) ignored += $i
        }
    }
    END {
        if (ignored) printf "%d ignored: long runs, see TESTING.md\n", ignored
        printf "%d passed, %d failed\n", passed, failed
    }
' "$log"
exit "$status"
