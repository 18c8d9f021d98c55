//! An application for tests: commits a history in a process of its own.
//! See `testkit::writer` for what it is told and what it says.

fn main() -> anyhow::Result<()> {
    testkit::writer::main(std::env::args_os().skip(1))
}
