//! The cluster's metadata as an immutable image, rebuilt from records.
