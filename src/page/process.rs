//! Figures about our own process, from /proc.

use super::encode::to_float;
use crate::{
    events::SelfMetrics,
    model::families::{self, Family},
};
use procfs::{ProcResult, process::Process};

/// Reads the figures; one that cannot be read is not told.
pub(super) fn observe(metrics: &SelfMetrics) {
    let process = Process::myself().ok();
    let stat = process.as_ref().and_then(|process| process.stat().ok());
    let set = |family: &'static Family, value: Option<f64>| match value {
        Some(value) => metrics.set(family, &[], value),
        None => metrics.forget(family, |_| true),
    };
    let per_second = float(procfs::ticks_per_second());
    let seconds = |ticks: u64| float(ticks) / per_second;
    set(&families::PROCESS_CPU, stat.as_ref().map(|stat| seconds(stat.utime.saturating_add(stat.stime))));
    set(&families::PROCESS_RESIDENT, stat.as_ref().map(|stat| float(stat.rss.saturating_mul(procfs::page_size()))));
    set(&families::PROCESS_THREADS, stat.as_ref().map(|stat| to_float(stat.num_threads)));
    let start = |ticks: u64| -> ProcResult<f64> { Ok(float(procfs::boot_time_secs()?) + seconds(ticks)) };
    set(&families::PROCESS_START, stat.as_ref().and_then(|stat| start(stat.starttime).ok()));
    let open = process.as_ref().and_then(|process| process.fd_count().ok());
    set(&families::PROCESS_OPEN_FDS, open.and_then(|open| u64::try_from(open).ok()).map(float));
}

fn float(value: u64) -> f64 {
    to_float(i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_has_plausible_figures() {
        let metrics = SelfMetrics::default();
        observe(&metrics);
        let value = |family| metrics.value(family, &[]).unwrap();
        assert!(value(&families::PROCESS_RESIDENT) > 1e6 && value(&families::PROCESS_THREADS) >= 2.0);
        assert!(value(&families::PROCESS_OPEN_FDS) >= 3.0 && value(&families::PROCESS_CPU) >= 0.0);
        let age = crate::clock::now().seconds() - value(&families::PROCESS_START);
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }
}
