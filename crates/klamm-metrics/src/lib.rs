//! Every metric, declared once, and its Prometheus text.
//!
//! [`catalogue`] declares; a [`Registry`], owned by the node, hands out the counters and
//! histograms that the hot paths feed, and asks gauge functions when somebody scrapes. A counter
//! costs one relaxed addition on a cache line that no other thread is likely to write. Never
//! opens a port and never asks the time.

pub mod catalogue;
mod cell;
mod metric;
mod registry;

pub use cell::{Counter, Histogram};
pub use metric::{Kind, Metric, render_reference};
pub use registry::Registry;
