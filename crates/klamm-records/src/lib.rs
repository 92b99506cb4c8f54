//! Record batches: view, iterate, build, compress, validate.
