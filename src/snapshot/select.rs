//! Prometheus instant vector selectors over samples.
