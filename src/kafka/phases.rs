//! How long each part of a cycle takes.

use crate::{events::SelfMetrics, model::families};
use std::{sync::Arc, time::Instant};

/// Tells when phases end.
pub(super) struct Phases {
    metrics: Arc<SelfMetrics>,
    began: Instant,
}

impl Phases {
    /// The first one began then.
    pub(super) fn new(metrics: &Arc<SelfMetrics>, began: Instant) -> Self {
        Self { metrics: Arc::clone(metrics), began }
    }

    /// That one has ended, and the next one begins.
    pub(super) fn ended(&mut self, phase: &'static str) {
        let took = self.began.elapsed();
        self.metrics.set(&families::KAFKA_PHASE_DURATION, &[phase], took.as_secs_f64());
        self.began += took;
    }
}
