//! `cargo xtask docs`: the reference pages as the declarations render them, and Rust's own
//! documentation of every crate, where a broken link is an error.

use crate::test::{cargo, run_command};

/// Renders both.
///
/// # Errors
/// A page cannot be written, or rustdoc found something.
pub(crate) fn run() -> Result<(), String> {
    let mut pages = cargo(&["test", "--quiet", "--package", "klamm-cli", "--test", "docs"]);
    pages.env("KLAMM_UPDATE_DOCS", "1");
    run_command(pages, "the reference pages cannot be written")?;
    crates()
}

/// Renders what the crates say of themselves.
///
/// # Errors
/// Rustdoc found something.
pub(crate) fn crates() -> Result<(), String> {
    let mut crates = cargo(&["doc", "--workspace", "--no-deps"]);
    crates.env("RUSTDOCFLAGS", "--deny warnings");
    run_command(crates, "rustdoc found something")
}
