//! From text to a tree of YAML nodes, bounded in bytes, depth and number of nodes; aliases are expanded within these
//! bounds. Knows nothing of what the nodes mean, and keeps duplicate and odd keys, so that they can be reported.

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use std::{cell::Cell, fmt};

/// Deepest nesting of lists and mappings.
pub const MAX_DEPTH: u32 = 32;
/// Most nodes (keys and values), aliases expanded.
pub const MAX_NODES: u32 = 100_000;
/// Most bytes of text in all nodes, aliases expanded.
pub const MAX_TEXT_BYTES: usize = 4 << 20;
/// Most `[` and `{` in the file: the scanner's work per token grows with the number of those that are open.
pub const MAX_BRACKETS: usize = 10_000;

/// A node. Has no Debug, since it may hold secrets.
pub(crate) enum Node {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number, `.nan` and `.inf` too.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping as written: in order, with duplicates.
    Map(Vec<(Node, Node)>),
}

/// Parses one YAML document. The error is a sentence, with line and column where they are known.
pub(crate) fn parse(text: &str) -> Result<Node, String> {
    if text.bytes().filter(|byte| b"[{".contains(byte)).count() > MAX_BRACKETS {
        return Err(format!("more than {MAX_BRACKETS} `[` and `{{`"));
    }
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let Some(first) = documents.next() else { return Ok(Node::Null) };
    let budget = Budget { nodes: Cell::new(MAX_NODES), bytes: Cell::new(MAX_TEXT_BYTES) };
    let node = Seed { budget: &budget, depth: MAX_DEPTH }.deserialize(first).map_err(|error| {
        let tab = error.location().is_some_and(|place| {
            text.lines()
                .nth(place.line().saturating_sub(1))
                .is_some_and(|line| line.trim_start_matches(' ').starts_with('\t'))
        });
        format!("not usable as YAML: {error}{}", if tab { " (indent with spaces, not tabs)" } else { "" })
    })?;
    match documents.next() {
        None => Ok(node),
        Some(_) => Err("more than one YAML document (`---`); allowed: one".into()),
    }
}

struct Budget {
    nodes: Cell<u32>,
    bytes: Cell<usize>,
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    budget: &'a Budget,
    depth: u32,
}

impl Seed<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom(format!("nested deeper than {MAX_DEPTH}")))?;
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no tag (`!name`)")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.count(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.count(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.count(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.count(Node::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.count(Node::Integer(value.into()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        self.count(Node::Integer(value))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        let value = i128::try_from(value).map_err(|_| E::custom("a number too large to be one; quote it"))?;
        self.count(Node::Integer(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        self.count(Node::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        let left = self.budget.bytes.get().checked_sub(value.len());
        let left =
            left.ok_or_else(|| E::custom(format!("more than {MAX_TEXT_BYTES} bytes of text, aliases expanded")))?;
        self.budget.bytes.set(left);
        self.count(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let inner = self.inner()?;
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(inner)? {
            nodes.push(node);
        }
        self.count(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let inner = self.inner()?;
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(inner)? {
            entries.push((key, map.next_value_seed(inner)?));
        }
        self.count(Node::Map(entries))
    }
}

impl Seed<'_> {
    fn count<E: Error>(self, node: Node) -> Result<Node, E> {
        let left = self.budget.nodes.get().checked_sub(1);
        let left = left.ok_or_else(|| E::custom(format!("more than {MAX_NODES} nodes, aliases expanded")))?;
        self.budget.nodes.set(left);
        Ok(node)
    }
}
