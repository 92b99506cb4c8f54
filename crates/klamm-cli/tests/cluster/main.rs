//! A node in this process, and what clients and the binary do with it.

mod commands;
mod consumers;
mod demo;
mod fixture;
mod groups;
mod producers;
mod storage;
