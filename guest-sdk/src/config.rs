//! Reads a rule's `config:` block into its own type. Does not know what any key means.

use serde::de::DeserializeOwned;

/// The [`Config`](crate::Rule::Config) of a rule that has no configuration; any key is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Reads JSON as the agent hands it over. The error is one sentence that names the key.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let text = if matches!(text.trim(), "" | "null") { "{}" } else { text };
    // By way of a Value: line and column of the JSON mean nothing to somebody who wrote YAML.
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("the configuration is not JSON: {error}"))?;
    if !value.is_object() {
        return Err(format!("config: must be keys with values, is {value}"));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let problem = error.into_inner();
        if path == "." { format!("config: {problem}") } else { format!("config.{path}: {problem}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        groups: Vec<String>,
        threshold: u64,
    }

    #[track_caller]
    fn check(text: &str, want: Result<Sample, &str>) {
        assert_eq!(read(text), want.map_err(str::to_owned));
    }

    #[test]
    fn a_block_is_read_and_an_absent_one_is_empty() {
        check(r#"{"groups":["a"],"threshold":3}"#, Ok(Sample { groups: vec!["a".into()], threshold: 3 }));
        for absent in ["", " ", "null", "{}"] {
            check(absent, Ok(Sample::default()));
            assert_eq!(read(absent), Ok(NoConfig {}), "{absent:?}");
        }
    }

    #[test]
    fn an_error_names_the_key_and_not_a_place_in_json() {
        check(r#"{"threshold":"many"}"#, Err(r#"config.threshold: invalid type: string "many", expected u64"#));
        check(r#"{"threshold":-1}"#, Err("config.threshold: invalid value: integer `-1`, expected u64"));
        check(r#"{"groups":["a",1]}"#, Err("config.groups[1]: invalid type: integer `1`, expected a string"));
        check(r#"{"treshold":1}"#, Err("config.treshold: unknown field `treshold`, expected `groups` or `threshold`"));
        check("[1]", Err("config: must be keys with values, is [1]"));
        assert!(read::<Sample>("{").unwrap_err().starts_with("the configuration is not JSON: "));
    }
}
