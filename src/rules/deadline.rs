//! How long an evaluation may take: CPU time of its thread, and wall time. Asked by the epoch while the guest runs, and at
//! each call of ours, since the epoch does not interrupt the host.

use super::limits;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// From its start to its limits. Counts the thread that made it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    started: Instant,
    cpu_before: Duration,
    cpu: Duration,
    wall: Duration,
}

/// A limit was reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum TooLate {
    #[error("used more than its {0:?} of CPU time")]
    Cpu(Duration),
    #[error("was not done within {0:?}")]
    Wall(Duration),
}

impl Deadline {
    /// Starts now.
    pub(super) fn start(cpu: Duration) -> Self {
        let wall = cpu.saturating_mul(limits::WALL_FACTOR);
        Self { started: Instant::now(), cpu_before: thread_cpu(), cpu, wall }
    }

    /// Is there time left?
    pub(super) fn check(&self) -> Result<(), TooLate> {
        let elapsed = self.started.elapsed();
        // Asking for CPU time is a call of the system, and no thread uses more of it than time passes.
        if elapsed <= self.cpu {
            return Ok(());
        }
        if thread_cpu().saturating_sub(self.cpu_before) > self.cpu {
            return Err(TooLate::Cpu(self.cpu));
        }
        if elapsed > self.wall { Err(TooLate::Wall(self.wall)) } else { Ok(()) }
    }
}

/// CPU time of this thread.
pub(super) fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
