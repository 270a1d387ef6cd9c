//! What YAML files of other kinds are read with: the same parser, the same problems, the same words for rules.

pub(crate) use super::{
    problem::key_path,
    read::{Field, Reader, Section},
    rules::{limits, module, rule_config},
    yaml::{Node, parse},
};

use super::labels::{self, ALERT_RESERVED_LABELS};
use crate::model::Labels;

/// `labels:` of a rule.
pub(crate) fn alert_labels(reader: &mut Reader<'_>, field: Field) -> Option<Labels> {
    labels::labels(reader, field, &ALERT_RESERVED_LABELS)
}

/// `annotations:` of a rule.
pub(crate) fn annotations(reader: &mut Reader<'_>, field: Field) -> Option<Labels> {
    labels::labels(reader, field, &[])
}
