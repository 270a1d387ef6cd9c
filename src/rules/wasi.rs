//! WASI 0.2 for rules: all that a program needs to start, nothing that reaches out. No files, environment, arguments or
//! sockets; the clock stands at the snapshot's time; random comes from a seed; what is printed goes to the rule's log.

use super::{guest_log::GuestLog, host::Host, limits};
use crate::model::Timestamp;
use bytes::Bytes;
use rand_core::{Infallible, TryRng};
use sha2::{Digest, Sha256};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView, async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

/// A rule slept or polled, which has no end that we could enforce.
#[derive(Debug, thiserror::Error)]
#[error("rules may not sleep")]
pub(super) struct Slept;

/// Adds WASI to a linker, waiting excluded.
pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    linker.allow_shadowing(true);
    let mut poll = linker.instance("wasi:io/poll@0.2.12")?;
    poll.func_new("poll", |_, _, _, _| Err(Slept.into()))?;
    poll.func_new("[method]pollable.block", |_, _, _, _| Err(Slept.into()))?;
    // Asking again and again is waiting, too; and the answer would come from a clock that is not the rule's.
    poll.func_new("[method]pollable.ready", |_, _, _, _| Err(Slept.into()))?;
    linker.allow_shadowing(false);
    Ok(())
}

/// May a rule import that interface? Sockets are left out although WASI here would refuse each use of them: their
/// author should hear it at load, not in production.
pub(super) fn may_import(interface: &str) -> bool {
    let name = interface.split_once('@').map_or(interface, |(name, _)| name);
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/"]
        .iter()
        .any(|package| name.starts_with(package))
}

/// A context for one evaluation.
pub(super) fn context(now: Timestamp, seed: [u8; 32], log: &Arc<Mutex<GuestLog>>) -> WasiCtx {
    let (low, _) = seed.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    WasiCtx::builder()
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .wall_clock(Clock::at(now))
        .monotonic_clock(Clock::at(now))
        .secure_random(Seeded::new(seed, b's'))
        .insecure_random(Seeded::new(seed, b'i'))
        .insecure_random_seed(u128::from_le_bytes(*low))
        .max_random_size(limits::MAX_RANDOM_BYTES)
        .stdout(Printed(Arc::clone(log)))
        .stderr(Printed(Arc::clone(log)))
        .build()
}

/// An empty table for the guest's handles.
pub(super) fn table() -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits::MAX_HANDLES);
    table
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Starts at the snapshot's time and goes on by a microsecond at each look: some runtimes wait for it to move.
struct Clock {
    start: Duration,
    looks: AtomicU64,
}

impl Clock {
    fn at(now: Timestamp) -> Self {
        Self { start: Duration::from_millis(now.0), looks: AtomicU64::new(0) }
    }

    fn look(&self) -> Duration {
        self.start.saturating_add(Duration::from_micros(self.looks.fetch_add(1, Ordering::Relaxed)))
    }
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        self.look()
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        u64::try_from(self.look().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// SHA-256 of seed and counter: nobody without the seed can tell what comes next, and the same seed gives the same.
struct Seeded {
    seed: [u8; 32],
    stream: u8,
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Seeded {
    fn new(seed: [u8; 32], stream: u8) -> Self {
        Self { seed, stream, counter: 0, block: [0; 32], used: 32 }
    }

    fn byte(&mut self) -> u8 {
        if self.used >= self.block.len() {
            let mut hash = Sha256::new();
            hash.update(self.seed);
            hash.update([self.stream]);
            hash.update(self.counter.to_le_bytes());
            self.block = hash.finalize().into();
            self.counter = self.counter.wrapping_add(1);
            self.used = 0;
        }
        let byte = self.block.get(self.used).copied().unwrap_or_default();
        self.used = self.used.saturating_add(1);
        byte
    }
}

impl TryRng for Seeded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Infallible> {
        buffer.fill_with(|| self.byte());
        Ok(())
    }
}

/// Standard output and error: lines of the rule's log.
struct Printed(Arc<Mutex<GuestLog>>);

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for it, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}

#[async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(limits::MAX_LOG_LINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_repeats_with_its_seed_and_differs_without() {
        let draw = |seed: u8, stream: u8| {
            let mut random = Seeded::new([seed; 32], stream);
            let mut bytes = [0; 100];
            random.try_fill_bytes(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(draw(1, b's'), draw(1, b's'));
        assert_ne!(draw(1, b's'), draw(2, b's'));
        assert_ne!(draw(1, b's'), draw(1, b'i'));
        assert_ne!(draw(1, b's')[..32], draw(1, b's')[32..64]);
    }

    #[test]
    fn the_clock_stands_at_the_snapshot_and_never_goes_back() {
        let clock = Clock::at(Timestamp(1_700_000_000_000));
        let first = HostWallClock::now(&clock);
        assert_eq!(first.as_millis(), 1_700_000_000_000);
        assert!(HostMonotonicClock::now(&clock) > 1_700_000_000_000_000_000);
    }

    #[test]
    fn sockets_are_no_part_of_it() {
        assert!(may_import("wasi:io/poll@0.2.6") && may_import("wasi:random/insecure-seed@0.2.12"));
        assert!(!may_import("wasi:sockets/tcp@0.2.6") && !may_import("wasi:http/outgoing-handler@0.2.0"));
        assert!(!may_import("wasi:iox/poll"));
    }
}
