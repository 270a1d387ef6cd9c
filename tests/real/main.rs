//! Integration tests with real Kafka, Prometheus and Alertmanager. Started by `tests/run`, which fetches them; a plain
//! `cargo test` leaves this binary out.

#[cfg(test)]
mod access;
#[cfg(test)]
mod actions;
#[cfg(test)]
mod api;
#[cfg(test)]
mod checkpoint;
#[cfg(test)]
mod contrib;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod groups;
#[cfg(test)]
#[expect(dead_code, reason = "the other test binary uses the rest")]
#[path = "../harness/mod.rs"]
mod harness;
#[cfg(test)]
mod held;
#[cfg(test)]
mod kinds;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod load;
#[cfg(test)]
mod mislead;
#[cfg(test)]
mod notifiers;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod prometheus;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod seconds;
#[cfg(test)]
mod security;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod tutorial;
#[cfg(test)]
mod web;
#[cfg(test)]
mod web_page;
