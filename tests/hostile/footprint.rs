//! What a process holds, by /proc; and how long things took.

use std::{fmt, fs, path::Path, time::Duration};

/// How much resident memory may grow where nothing more is held: what the allocator keeps, and noise.
pub(crate) const NOTHING: u64 = 8 << 20;

/// Connections that may be about to be closed, or open for the next question, when descriptors are counted.
const CLOSING: usize = 2;

/// What a process holds at one moment.
#[derive(Debug)]
pub(crate) struct Footprint {
    /// Resident memory, in bytes.
    memory: u64,
    threads: usize,
    descriptors: usize,
    children: usize,
    /// Names in the folder of compiled code, sorted.
    cache: Vec<String>,
}

impl Footprint {
    /// Of the process of that id; `cache` is where it keeps compiled code.
    pub(crate) fn of(id: u32, cache: &Path) -> Self {
        let proc = Path::new("/proc").join(id.to_string());
        let entries = |folder: &str| fs::read_dir(proc.join(folder)).unwrap().count();
        let status = fs::read_to_string(proc.join("status")).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = kib.trim().trim_end_matches(" kB").parse().unwrap();
        let kept = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut kept: Vec<_> = kept.collect();
        kept.sort();
        Self {
            memory: kib << 10,
            threads: entries("task"),
            descriptors: entries("fd"),
            children: children(id),
            cache: kept,
        }
    }

    /// Resident memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }

    /// Is this no more than `before`, but for so many bytes of memory? Else what differs.
    pub(crate) fn as_before(&self, before: &Self, growth: u64) -> Result<(), String> {
        let no_more = self.memory <= before.memory + growth
            && self.threads <= before.threads
            && self.descriptors <= before.descriptors + CLOSING
            && self.children <= before.children;
        if no_more && self.cache == before.cache {
            return Ok(());
        }
        Err(format!("{before}, then {self}"))
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, threads, descriptors, children, cache } = self;
        let cache = cache.len();
        let kib = memory >> 10;
        write!(f, "{kib} KiB, {threads} threads, {descriptors} descriptors, {children} children, {cache} files kept")
    }
}

/// Processes whose parent is the one of that id.
fn children(id: u32) -> usize {
    let parent = |stat: String| {
        // The name before it may hold blanks and brackets.
        let after = stat.rsplit_once(')')?.1.to_owned();
        after.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(|stat| parent(stat.clone()) == Some(id)).count()
}

/// The value that so many of a thousand do not exceed.
pub(crate) fn per_mille(times: &[Duration], of_thousand: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[(sorted.len() * of_thousand / 1000).min(sorted.len() - 1)]
}
