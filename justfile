# Shortcuts; each recipe is a command that works without just too.

# List the recipes.
default:
    @just --list

# What must pass before a commit, without the tests.
check:
    cargo fmt --all --check
    scripts/check-sources.sh
    cargo clippy --locked --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

# Licences, bans and sources of dependencies.
deny:
    cargo deny --locked check --hide-inclusion-graph licenses bans sources

# All tests, or those that the arguments of cargo test choose.
test *ARGS:
    scripts/test.sh {{ARGS}}

# Mutated input, so many seconds per target.
fuzz SECONDS="60":
    LTX_FUZZ_SECONDS={{SECONDS}} cargo test -p ltx --test fuzz
    SQLITE_WAL_FUZZ_SECONDS={{SECONDS}} cargo test -p sqlite-wal --test fuzz

# Large models of the checkpoint protocol: minutes and gigabytes.
model:
    cargo test --release -p litestream --test checkpoint_model -- --ignored

# Micro benchmarks.
bench:
    cargo bench -p ltx
    cargo bench -p sqlite-wal

# Tests beside the real Litestream; they fail when its binaries cannot be had.
diff:
    scripts/install-reference.sh
    LITESTREAM_REQUIRE_REFERENCE=1 cargo test -p testkit --test reference
    LITESTREAM_REQUIRE_REFERENCE=1 cargo test -p litestream --test continuity takeover
    LITESTREAM_REQUIRE_REFERENCE=1 cargo test -p litestream-cli --test differential

# The whole gate.
ci:
    .ci/run
