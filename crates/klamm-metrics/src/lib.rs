//! Every metric, declared once, and its Prometheus text.
