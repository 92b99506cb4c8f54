//! Assembles a node from its roles; the embedded door.
