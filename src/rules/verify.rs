//! Whether the rules that agent.yaml names modules for would go live, found out apart from an agent.

use super::{
    Config, Module, Offline, OfflineError, OfflineRule, Overlay, RuleConfig, builtin::builtin, check, limits, load,
};
use crate::{files, model::Timestamp, pipeline::Verdict};
use std::sync::Arc;

/// What keeps a listed rule from going live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which of the configuration's rules, from 0.
    pub rule: usize,
    /// The key of its entry that is at fault.
    pub key: &'static str,
    /// For people.
    pub text: String,
}

/// Loads each of these rules as an agent would, but with more time ([`limits::OFFLINE_TIMES`]), up to a dry run on a snapshot in
/// which nothing is observed yet. Entries that add to a rule of `rules_dir` are not looked at. Takes as long as compiling them takes; keeps nothing.
///
/// # Errors
/// When this machine cannot run WebAssembly at all.
pub fn faults(config: &Config, now: Timestamp) -> Result<Vec<Fault>, OfflineError> {
    if config.rules.iter().all(|(_, listed)| listed.module.is_none()) {
        return Ok(Vec::new());
    }
    faults_with(&mut Offline::new(None, config.compiler.clone())?, config, now)
}

pub(super) fn faults_with(offline: &mut Offline, config: &Config, now: Timestamp) -> Result<Vec<Fault>, OfflineError> {
    let [(on, unobserved), _] = check::snapshots(now);
    let unobserved = Arc::new(unobserved);
    let mut faults = Vec::new();
    // Held, so that what several rules share is compiled once.
    let mut loaded = Vec::new();
    for (rule, (name, listed)) in config.rules.iter().enumerate() {
        let Some(module) = &listed.module else { continue };
        let fault = |key, text| Fault { rule, key, text };
        let bytes = match read(module, listed) {
            Ok(bytes) => bytes,
            Err((key, text)) => {
                faults.push(fault(key, text));
                continue;
            }
        };
        let code = match offline.load(&bytes) {
            Ok(code) => code,
            Err(OfflineError::Module(text)) => {
                faults.push(fault("module", text));
                continue;
            }
            Err(error) => return Err(error),
        };
        let settings = Arc::new(listed.settings(name, &Overlay::default()));
        let rule_config = listed.overlay.config.as_deref().unwrap_or("{}");
        let mut one = OfflineRule::new(&code, settings, rule_config, listed.limits.clone());
        loaded.push(code);
        if let Err(text) = offline.check_config(&one, &unobserved) {
            faults.push(fault("config", text));
        } else if let Verdict::Failed { reason, text } = offline.evaluate(&mut one, &unobserved, None) {
            faults.push(fault("module", format!("dry run on {on} failed ({reason}): {text}")));
        }
    }
    Ok(faults)
}

/// The bytes of a module, if it is the one that is wanted; else the key at fault and why.
fn read(module: &Module, listed: &RuleConfig) -> Result<Vec<u8>, (&'static str, String)> {
    let bytes = match module {
        Module::Builtin(name) => {
            builtin(name).ok_or_else(|| ("module", format!("there is no builtin rule {name:?}")))?.to_vec()
        }
        Module::File(path) => files::read_short(path, limits::MAX_MODULE_BYTES)
            .map_err(|error| ("module", format!("cannot read {}: {error}", path.display())))?,
    };
    match listed.sha256.as_ref().map(|wanted| (wanted, load::sha256(&bytes))) {
        Some((wanted, found)) if found != *wanted => {
            Err(("sha256", format!("the module's is {found}; found {wanted} here")))
        }
        _ => Ok(bytes),
    }
}
