//! What hostile and heavy rules, and files that change under load, cost everybody else. These compare times, so that they
//! are a program of their own, of which the tests run one after the other.

#[cfg(test)]
mod fairness;
#[cfg(test)]
mod footprint;
#[cfg(test)]
#[expect(dead_code, reason = "the other test binaries use the rest")]
#[path = "../harness/mod.rs"]
mod harness;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod storm;

/// Held by each test for as long as it runs: another one beside it would be in its times.
#[cfg(test)]
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
