//! Labels and annotations that users write.

use super::{
    read::{Field, Reader},
    scalar,
};
use crate::model::Labels;

/// Most labels or annotations in one place.
pub const MAX_LABELS: usize = 32;
/// Longest label name, in bytes.
pub const MAX_LABEL_NAME_BYTES: usize = 128;
/// Longest label or annotation value, in bytes.
pub const MAX_LABEL_VALUE_BYTES: usize = 4096;
/// Labels that each alert gets from us.
pub const ALERT_RESERVED_LABELS: [&str; 3] = ["alertname", "cluster", "rule"];
/// Labels that hold numbers of histograms and summaries together.
pub const JMX_RESERVED_LABELS: [&str; 2] = ["le", "quantile"];

/// A mapping of label names to values, none of them in `reserved`.
pub(super) fn labels(reader: &mut Reader<'_>, field: Field, reserved: &[&str]) -> Option<Labels> {
    let mut section = reader.section(field)?;
    let entries = section.take_rest();
    if entries.len() > MAX_LABELS {
        reader.problem(&section.path, format_args!("found {} entries; allowed: at most {MAX_LABELS}", entries.len()));
        return None;
    }
    let mut labels = Labels::new();
    for (name, field) in entries {
        if reserved.contains(&name.as_str()) {
            reader.problem(&field.path, format_args!("a reserved name; reserved are {}", reserved.join(", ")));
        } else if name.len() > MAX_LABEL_NAME_BYTES || !scalar::is_label_name(&name) {
            reader.problem(
                &field.path,
                format_args!("not a name; allowed: letters, digits and _, at most {MAX_LABEL_NAME_BYTES}, not beginning with a digit or __"),
            );
        } else {
            let allowed = format!("text of 1 to {MAX_LABEL_VALUE_BYTES} bytes");
            let length_ok = |text: &str| (1..=MAX_LABEL_VALUE_BYTES).contains(&text.len());
            if let Some(value) = reader.parsed(&field, &allowed, |text| length_ok(text).then(|| text.to_owned())) {
                labels.insert(name, value);
            }
        }
    }
    Some(labels)
}
