//! The projects that `rule new` writes. They are the examples of `rules-examples/sightings` themselves, so what is
//! written is what is tested.

/// A file of a template: its path in the project, and what is in it.
pub(super) type File = (&'static str, &'static [u8]);

/// Files of a folder of this repository; the paths below it are the paths in the project.
macro_rules! files {
    ($folder:literal, [$($path:literal),* $(,)?]) => {
        &[$(($path, include_bytes!(concat!("../../../../", $folder, "/", $path)))),*]
    };
}

pub(super) const RUST: &[File] = files!(
    "rules-examples/sightings/rust",
    [".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "cases.yaml", "rule.yaml", "src/lib.rs"]
);

/// The SDK, which is on no registry: a project in Rust has a copy.
pub(super) const SDK: &[File] = files!(
    "guest-sdk",
    [
        "Cargo.toml",
        "README.md",
        "generate",
        "src/alerts.rs",
        "src/bindings.rs",
        "src/config.rs",
        "src/export.rs",
        "src/globs.rs",
        "src/lib.rs",
        "src/logging.rs",
        "src/migration.rs",
        "src/migration_bindings.rs",
        "src/mock/imports.rs",
        "src/mock/kafka.rs",
        "src/mock/mod.rs",
        "src/mock/series.rs",
        "src/outcome.rs",
        "src/own_actions.rs",
        "src/own_alerts.rs",
        "src/period.rs",
        "src/rates.rs",
        "src/snapshot.rs",
        "src/state.rs",
        "src/text.rs",
        "src/time.rs",
        "wit/rule.wit",
    ]
);

pub(super) const GO: &[File] = files!(
    "rules-examples/sightings/go",
    [
        ".gitignore",
        "README.md",
        "agent/agent.go",
        "cases.yaml",
        "decide/decide.go",
        "decide/decide_test.go",
        "gen/exports/wit_exports/wit_exports.go",
        "gen/imports/brokerwarden_rule_evaluator/empty.s",
        "gen/imports/brokerwarden_rule_evaluator/wit_bindings.go",
        "gen/imports/brokerwarden_rule_logging/empty.s",
        "gen/imports/brokerwarden_rule_logging/wit_bindings.go",
        "gen/imports/brokerwarden_rule_own_actions/empty.s",
        "gen/imports/brokerwarden_rule_own_actions/wit_bindings.go",
        "gen/imports/brokerwarden_rule_own_alerts/empty.s",
        "gen/imports/brokerwarden_rule_own_alerts/wit_bindings.go",
        "gen/imports/brokerwarden_rule_rates/empty.s",
        "gen/imports/brokerwarden_rule_rates/wit_bindings.go",
        "gen/imports/brokerwarden_rule_snapshot/empty.s",
        "gen/imports/brokerwarden_rule_snapshot/wit_bindings.go",
        "gen/imports/brokerwarden_rule_state/empty.s",
        "gen/imports/brokerwarden_rule_state/wit_bindings.go",
        "gen/imports/brokerwarden_rule_time/empty.s",
        "gen/imports/brokerwarden_rule_time/wit_bindings.go",
        "gen/imports/brokerwarden_rule_types/empty.s",
        "gen/imports/brokerwarden_rule_types/wit_bindings.go",
        "gen/wit/LICENSE",
        "gen/wit/runtime/empty.s",
        "gen/wit/runtime/runtime.go",
        "gen/wit/types/option.go",
        "gen/wit/types/result.go",
        "gen/wit/types/unit.go",
        "go.mod",
        "main.go",
        "rule.yaml",
        "wit/rule.wit",
    ]
);

pub(super) const JAVASCRIPT: &[File] = files!(
    "rules-examples/sightings/js",
    [
        ".gitignore",
        "README.md",
        "cases.yaml",
        "package-lock.json",
        "package.json",
        "rule.yaml",
        "src/decide.js",
        "src/rule.js",
        "test/decide.test.js",
        "wit/rule.wit",
    ]
);

pub(super) const TYPESCRIPT: &[File] = files!(
    "rules-examples/sightings/ts",
    [
        ".gitignore",
        "README.md",
        "cases.yaml",
        "package-lock.json",
        "package.json",
        "rule.yaml",
        "src/decide.ts",
        "src/rule.ts",
        "test/decide.test.ts",
        "tsconfig.json",
        "types/checked-rule.d.ts",
        "types/interfaces/brokerwarden-rule-config-check.d.ts",
        "types/interfaces/brokerwarden-rule-evaluator.d.ts",
        "types/interfaces/brokerwarden-rule-logging.d.ts",
        "types/interfaces/brokerwarden-rule-own-actions.d.ts",
        "types/interfaces/brokerwarden-rule-own-alerts.d.ts",
        "types/interfaces/brokerwarden-rule-rates.d.ts",
        "types/interfaces/brokerwarden-rule-snapshot.d.ts",
        "types/interfaces/brokerwarden-rule-state.d.ts",
        "types/interfaces/brokerwarden-rule-time.d.ts",
        "types/interfaces/brokerwarden-rule-types.d.ts",
        "wit/rule.wit",
    ]
);

pub(super) const PYTHON: &[File] = files!(
    "rules-examples/sightings/python",
    [
        ".gitignore",
        "README.md",
        "app.py",
        "cases.yaml",
        "decide.py",
        "requirements.txt",
        "rule.yaml",
        "test_decide.py",
        "wit/rule.wit",
    ]
);

pub(super) const C: &[File] = files!(
    "rules-examples/sightings/c",
    [
        ".gitignore",
        "Makefile",
        "README.md",
        "cases.yaml",
        "decide.c",
        "decide.h",
        "gen/checked_rule.c",
        "gen/checked_rule.h",
        "gen/checked_rule_component_type.o",
        "requirements.txt",
        "rule.c",
        "rule.yaml",
        "test_decide.c",
        "wit/rule.wit",
    ]
);
