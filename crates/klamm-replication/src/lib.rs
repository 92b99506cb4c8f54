//! A partition's leader state: high watermark, waiting fetches and produces.
