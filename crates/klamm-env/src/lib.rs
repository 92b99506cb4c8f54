//! The one seam to clock, disk, network and random source.
