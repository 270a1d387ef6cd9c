//! An argument of a program, with places for parameters. What a parameter brings stays data: it is part of this one
//! argument, whatever is in it. Pure.

use crate::model::Labels;
use std::collections::BTreeSet;

/// A piece of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As written.
    Text(String),
    /// The value of a parameter.
    Parameter(String),
}

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument(pub Vec<Part>);

impl Argument {
    /// Reads text with places such as `{{group}}`.
    ///
    /// # Errors
    /// What is wrong with a place.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or("`{{` without `}}`")?;
            let name = name.trim();
            if name.is_empty() || name.contains(['{', '}']) {
                return Err("no name of a parameter between `{{` and `}}`");
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Parameter(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The parameters that it wants.
    pub fn parameters(&self) -> BTreeSet<&str> {
        let parameters = self.0.iter().filter(|part| matches!(part, Part::Parameter(_)));
        parameters.map(|(Part::Parameter(text) | Part::Text(text))| text.as_str()).collect()
    }

    /// With the parameters in their places; `None` when one is missing.
    pub fn filled(&self, parameters: &Labels) -> Option<String> {
        self.0.iter().try_fold(String::new(), |filled, part| {
            let piece = match part {
                Part::Text(text) => text,
                Part::Parameter(name) => parameters.get(name)?,
            };
            Some(filled + piece)
        })
    }

    /// As it was written.
    pub fn text(&self) -> String {
        let piece = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Parameter(name) => format!("{{{{{name}}}}}"),
        };
        self.0.iter().map(piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, parameters: &[(&str, &str)]) -> Option<String> {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Argument::parse(text).unwrap().filled(&parameters)
    }

    #[test]
    fn parameters_take_their_places_and_nothing_in_them_is_read_again() {
        let all = [("a", "1 ' $(x) {{b}}"), ("b", "-2")];
        assert_eq!(filled("--x={{a}}/{{ b }}.", &all).unwrap(), "--x=1 ' $(x) {{b}}/-2.");
        assert_eq!(filled("", &all).unwrap(), "");
        assert_eq!(filled("} {x} {", &all).unwrap(), "} {x} {");
        assert_eq!(filled("{{c}}", &all), None);
    }

    #[test]
    fn what_is_no_place_is_refused_and_what_is_one_can_be_written_again() {
        for bad in ["{{", "a{{b", "{{}}", "{{ }}", "{{{a}}}", "{{a{b}}"] {
            assert!(Argument::parse(bad).is_err(), "{bad}");
        }
        let argument = Argument::parse("x{{ a }}{{b}}{{a}}y").unwrap();
        assert_eq!(argument.text(), "x{{a}}{{b}}{{a}}y");
        assert_eq!(argument.parameters().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
