//! A node in this process, and what clients and the binary do with it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod consumers;
mod demo;
mod fixture;
mod groups;
mod hanging;
mod log;
mod producers;
mod resets;
mod storage;
mod transactions;
