//! The binary klamm.
fn main() {}
