//! Integration tests with nothing but the agent and fakes. Those with real Kafka are in `tests/real`.

#[cfg(test)]
mod actions;
#[cfg(test)]
mod contrib;
#[cfg(test)]
mod demo;
#[cfg(test)]
#[expect(dead_code, reason = "the other test binary uses the rest")]
#[path = "../harness/mod.rs"]
mod harness;
#[cfg(test)]
mod jmx_pages;
#[cfg(test)]
mod languages;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod notifiers;
#[cfg(test)]
mod rule_command;
#[cfg(test)]
mod rule_commands;
#[cfg(test)]
mod rule_test;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod scope;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod server;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod startup;
#[cfg(test)]
mod store;
#[cfg(test)]
mod stub;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod web;
