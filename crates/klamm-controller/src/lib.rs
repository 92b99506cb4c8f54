//! The cluster's decisions.
