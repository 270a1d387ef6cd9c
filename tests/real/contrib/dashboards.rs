//! The queries of the shipped dashboards, asked as Grafana asks them.

use super::shipped;
use crate::harness::{holds, prometheus::Prometheus, within};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// Longest wait until every query has given something.
const PATIENCE: Duration = Duration::from_mins(3);

/// What a dashboard asks.
struct Board {
    name: &'static str,
    json: Value,
}

/// A query with the panel that it is for.
struct Query {
    panel: String,
    text: String,
}

impl Board {
    fn read(name: &'static str) -> Self {
        let json = serde_json::from_str(&shipped(&format!("grafana/dashboards/{name}.json"), &[])).unwrap();
        Self { name, json }
    }

    /// The values of its variables: those that are chosen, all of those that take several, else the first.
    fn variables(&self, prometheus: &Prometheus, chosen: &[(&str, &str)]) -> Result<BTreeMap<String, String>, String> {
        let mut known = BTreeMap::new();
        for variable in self.json["templating"]["list"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            let Some(query) = variable["query"]["query"].as_str() else { continue };
            let query = filled(query, &known);
            let (selector, label) =
                query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", ")).unwrap();
            let values = prometheus.label_values(label, selector)?;
            let wish = chosen.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
            let value = match wish {
                Some(wish) => values.contains(&wish).then_some(wish),
                None if variable["multi"] == true && !values.is_empty() => Some(values.join("|")),
                None => values.first().cloned(),
            };
            known.insert(name.to_owned(), value.ok_or(format!("{}: {query} gives {values:?}", self.name))?);
        }
        Ok(known)
    }

    fn queries(&self, variables: &BTreeMap<String, String>) -> Vec<Query> {
        let panels = self.json["panels"].as_array().unwrap();
        let targets = panels.iter().flat_map(|panel| {
            let title = panel["title"].as_str().unwrap();
            panel["targets"].as_array().into_iter().flatten().map(move |target| (title, target))
        });
        targets
            .map(|(title, target)| Query {
                panel: format!("{}: {title}", self.name),
                text: filled(target["expr"].as_str().unwrap(), variables),
            })
            .collect()
    }
}

/// As Grafana fills it in, with rates over a minute.
fn filled(text: &str, variables: &BTreeMap<String, String>) -> String {
    let text = text.replace("$__rate_interval", "1m");
    let text = variables.iter().fold(text, |text, (name, value)| text.replace(&format!("${name}"), value));
    assert!(!text.contains('$'), "a variable that the dashboard has not: {text}");
    text
}

/// Waits until each query of these dashboards has given a number at least once. `each_look` is done before each look.
#[track_caller]
pub(super) fn all_give_data(
    names: &[&'static str],
    prometheus: &Prometheus,
    chosen: &[(&str, &str)],
    mut each_look: impl FnMut(),
) {
    let mut missing: Option<Vec<Query>> = None;
    let mut asked = 0;
    within(PATIENCE, "every query of every dashboard gives data", || {
        each_look();
        if missing.is_none() {
            let mut queries = Vec::new();
            for name in names {
                let board = Board::read(name);
                let variables = board.variables(prometheus, chosen)?;
                queries.extend(board.queries(&variables));
            }
            asked = queries.len();
            missing = Some(queries);
        }
        let queries = missing.as_mut().unwrap();
        let mut errors = Vec::new();
        queries.retain(|query| match prometheus.series(&query.text) {
            Ok(series) => !series.values().any(|value| !value.is_nan()),
            Err(error) => {
                errors.push(error);
                true
            }
        });
        let list: Vec<_> = queries.iter().map(|query| format!("{}: {}", query.panel, query.text)).collect();
        holds(list.is_empty(), format!("{errors:?}, {} of {asked} without data:\n{}", list.len(), list.join("\n")))
    });
    assert!(asked > 20, "only {asked} queries");
    eprintln!("{asked} queries of {names:?} gave data");
}
