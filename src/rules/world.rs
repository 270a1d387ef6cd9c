//! What a component asks for and offers, read from its bytes, and what of it rules do not have: in the words of somebody
//! who writes rules. Nothing is compiled or run. Pure.

use super::{bindings, host, limits};
use crate::model::BoundedText;
use std::collections::BTreeMap;
use wit_component::DecodedWasm;

/// Interfaces, as `package/interface@version`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct World {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

/// Reads a component. The error says what is wrong with the file.
pub(super) fn read(component: &[u8]) -> Result<World, String> {
    let decoded = wit_component::decode(component)
        .map_err(|error| BoundedText(&format!("it is broken: {error:#}"), limits::MAX_REASON).to_string())?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err("it is a package of WIT, and has no code".into());
    };
    let world = resolve.worlds.get(world).ok_or("it has no world")?;
    let names = |keys: Vec<_>| {
        let name = |key| BoundedText(&resolve.name_world_key(key), limits::MAX_SHOWN_PATH).to_string();
        let mut names: Vec<_> = keys.into_iter().map(name).collect();
        names.sort();
        names
    };
    Ok(World { imports: names(world.imports.keys().collect()), exports: names(world.exports.keys().collect()) })
}

/// All that keeps a component from being a rule, as sentences.
pub(super) fn problems(world: &World) -> Vec<String> {
    // Imports that are amended in the same way make one sentence.
    let mut refused: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for interface in &world.imports {
        if let Some(why) = refusal(interface) {
            refused.entry(why).or_default().push(interface);
        }
    }
    let imports = refused.into_iter().map(|(why, interfaces)| format!("imports {}, {why}", interfaces.join(", ")));
    imports.chain(export_problems(&world.exports)).collect()
}

/// What is wrong with importing that interface.
fn refusal(interface: &str) -> Option<String> {
    let (name, version) = interface.split_once('@').unwrap_or((interface, ""));
    if let Some(ours) = name.strip_prefix(bindings::PACKAGE).and_then(|rest| rest.strip_prefix('/')) {
        return match version == bindings::VERSION {
            true if host::may_import(interface) => None,
            true => Some(format!("and the contract has no interface `{ours}`")),
            false => Some(other_version()),
        };
    }
    let package = name.split_once('/').map_or(name, |(package, _)| package);
    if host::may_import(interface) {
        // Our linker has all of 0.2 and nothing else.
        let known = version.starts_with("0.2.") || version == "0.2";
        return (!known).then(|| {
            "which is not WASI 0.2, and rules have only that: build with --sync (componentize-qjs), or for wasm32-wasip2 \
             (Rust)"
                .to_owned()
        });
    }
    let advice = match package {
        "wasi:sockets" => {
            ": rules reach no network; build with --stub-wasi (componentize-py, componentize-qjs), or leave out what \
             opens connections"
        }
        "wasi:http" => {
            ": rules make no requests; return an action and let the agent do it, or build without (componentize-js: \
             disableFeatures 'http' and 'fetch-event')"
        }
        "wasi:keyvalue" => ": what a rule remembers is in brokerwarden:rule/state",
        "wasi:logging" => ": what a rule logs goes to brokerwarden:rule/logging",
        "wasi:config" => ": a rule's configuration is in the context of `evaluate`",
        _ => ": they import the interfaces of brokerwarden:rule, and WASI 0.2 without network",
    };
    Some(format!("which rules do not have{advice}"))
}

fn other_version() -> String {
    format!(
        "which is of another version of the contract; this agent has {}: build the rule again with the rule.wit or the SDK \
         of that version (`brokerwarden rule new` writes both)",
        bindings::VERSION
    )
}

fn export_problems(exports: &[String]) -> Vec<String> {
    let evaluator = format!("{}/evaluator@{}", bindings::PACKAGE, bindings::VERSION);
    let ours = format!("{}/", bindings::PACKAGE);
    let of_others: Vec<_> = exports
        .iter()
        .filter(|name| name.starts_with(&ours))
        .filter(|name| name.split_once('@').is_none_or(|(_, version)| version != bindings::VERSION))
        .map(String::as_str)
        .collect();
    let mut problems = Vec::new();
    if !of_others.is_empty() {
        problems.push(format!("exports {}, {}", of_others.join(", "), other_version()));
    } else if !exports.contains(&evaluator) {
        let program = exports.iter().any(|name| name.starts_with("wasi:cli/run@"));
        let what = if program { "is a program (exports wasi:cli/run), and rules are libraries: it " } else { "" };
        problems.push(format!(
            "{what}does not export {evaluator}: build it for the world `rule` or `checked-rule` of rule.wit"
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(interface: &str) -> String {
        format!("{}/{interface}@{}", bindings::PACKAGE, bindings::VERSION)
    }

    #[track_caller]
    fn check(imports: &[&str], exports: &[&str], want: &[&str]) {
        let owned = |names: &[&str]| {
            names.iter().map(|name| if name.contains(':') { (*name).to_owned() } else { ours(name) }).collect()
        };
        let found = problems(&World { imports: owned(imports), exports: owned(exports) });
        assert_eq!(found.len(), want.len(), "{found:#?}");
        for (found, want) in found.iter().zip(want) {
            assert!(found.starts_with(want), "{found}");
        }
    }

    #[test]
    fn a_rule_has_no_problems() {
        check(&[], &["evaluator"], &[]);
        check(
            &["snapshot", "state", "wasi:io/poll@0.2.6", "wasi:random/random@0.2.12"],
            &["evaluator", "config-check"],
            &[],
        );
    }

    #[test]
    fn all_problems_are_told_at_once_with_what_to_do() {
        check(
            &[
                "wasi:sockets/tcp@0.2.0",
                "wasi:sockets/udp@0.2.0",
                "wasi:http/types@0.2.0",
                "wasi:cli/stdin@0.3.0",
                "snapshots",
                "other:package/x",
            ],
            &["wasi:cli/run@0.2.0"],
            &[
                "imports brokerwarden:rule/snapshots@",
                "imports wasi:cli/stdin@0.3.0, which is not WASI 0.2",
                "imports wasi:http/types@0.2.0, which rules do not have: rules make no requests",
                "imports wasi:sockets/tcp@0.2.0, wasi:sockets/udp@0.2.0, which rules do not have: rules reach no network; \
                 build with --stub-wasi",
                "imports other:package/x, which rules do not have: they import",
                "is a program (exports wasi:cli/run), and rules are libraries",
            ],
        );
    }

    #[test]
    fn another_version_of_the_contract_is_named_as_such() {
        check(
            &["brokerwarden:rule/state@0.0.9", "brokerwarden:rule/types@0.0.9"],
            &["brokerwarden:rule/evaluator@0.0.9"],
            &[
                "imports brokerwarden:rule/state@0.0.9, brokerwarden:rule/types@0.0.9, which is of another version",
                "exports brokerwarden:rule/evaluator@0.0.9, which is of another version",
            ],
        );
        check(&[], &[], &["does not export brokerwarden:rule/evaluator@"]);
    }
}
