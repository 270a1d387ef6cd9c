//! What the kernel says of a process.

use std::time::Duration;

/// CPU time so far, in user and kernel mode; whole hundredths of a second.
pub(crate) fn cpu(id: u32) -> Duration {
    let stat = process(id).stat().unwrap();
    Duration::from_secs(stat.utime + stat.stime) / u32::try_from(procfs::ticks_per_second()).unwrap()
}

/// Resident memory in MiB: now, and at its highest.
pub(crate) fn memory(id: u32) -> (u64, u64) {
    let status = process(id).status().unwrap();
    let mib = |kib: Option<u64>| kib.unwrap_or(0) / 1024;
    (mib(status.vmrss), mib(status.vmhwm))
}

fn process(id: u32) -> procfs::process::Process {
    procfs::process::Process::new(i32::try_from(id).unwrap()).unwrap()
}
