//! The grammar of selectors, by hand: PromQL's, with its string escapes.

use super::{MAX_MATCHERS, MAX_REGEX_BYTES, MAX_REGEX_NESTING, MAX_SELECTOR_BYTES, Matcher, NAME, SelectError};
use super::{Selector, Test};
use regex::{Regex, RegexBuilder};

pub(super) fn selector(text: &str) -> Result<Selector, SelectError> {
    if text.len() > MAX_SELECTOR_BYTES {
        return Err(SelectError::TooLong);
    }
    let mut cursor = Cursor { text, at: 0 };
    let mut selector = Selector { names: Vec::new(), labels: Vec::new() };
    cursor.blanks();
    let named = cursor.word(|c| is_name_part(c) || c == ':');
    if let Some(name) = named {
        selector.names.push(Test::Equal(name.to_owned()));
        cursor.blanks();
    }
    if cursor.accept("{") {
        matchers(&mut cursor, &mut selector, named.is_some())?;
        cursor.blanks();
    } else if named.is_none() {
        return Err(cursor.error("expected a metric name or `{`"));
    }
    if cursor.peek().is_some() {
        return Err(
            cursor.error("unexpected text after the selector (ranges, offsets and operators are not supported)")
        );
    }
    let narrow = |test: &Test| !test.accepts("");
    if !selector.names.iter().chain(selector.labels.iter().map(|matcher| &matcher.test)).any(narrow) {
        return Err(SelectError::MatchesEverything);
    }
    Ok(selector)
}

/// `a="b", c=~"d"`, with or without braces.
pub(super) fn bare_matchers(text: &str) -> Result<Selector, SelectError> {
    if text.len() > MAX_SELECTOR_BYTES {
        return Err(SelectError::TooLong);
    }
    let mut cursor = Cursor { text, at: 0 };
    let mut selector = Selector { names: Vec::new(), labels: Vec::new() };
    cursor.blanks();
    let braces = cursor.accept("{");
    loop {
        cursor.blanks();
        if cursor.peek().is_none_or(|c| c == '}' && braces) {
            break;
        }
        let label = cursor.word(is_name_part).ok_or_else(|| cursor.error("expected a label name"))?;
        let test = test(&mut cursor)?;
        selector.labels.push(Matcher { label: label.to_owned(), test });
        if selector.labels.len() > MAX_MATCHERS {
            return Err(SelectError::TooManyMatchers);
        }
        cursor.blanks();
        if !cursor.accept(",") && cursor.peek().is_some_and(|c| c != '}') {
            return Err(cursor.error("expected `,`"));
        }
    }
    if braces && !cursor.accept("}") {
        return Err(cursor.error("expected `}`"));
    }
    cursor.blanks();
    if cursor.peek().is_some() {
        return Err(cursor.error("unexpected text after the matchers"));
    }
    if selector.labels.is_empty() {
        return Err(cursor.error("expected a matcher such as severity=\"critical\""));
    }
    Ok(selector)
}

/// Everything up to and with the closing brace.
fn matchers(cursor: &mut Cursor<'_>, selector: &mut Selector, named: bool) -> Result<(), SelectError> {
    loop {
        cursor.blanks();
        if cursor.accept("}") {
            return Ok(());
        }
        let start = cursor.at;
        let label = cursor.word(is_name_part).ok_or_else(|| cursor.error("expected a label name or `}`"))?;
        if label == NAME && named {
            return Err(SelectError::Syntax { at: start, what: "the metric name is set twice" });
        }
        let test = test(cursor)?;
        if label == NAME {
            selector.names.push(test);
        } else {
            selector.labels.push(Matcher { label: label.to_owned(), test });
        }
        if selector.names.len().saturating_add(selector.labels.len()) > MAX_MATCHERS {
            return Err(SelectError::TooManyMatchers);
        }
        cursor.blanks();
        if !cursor.accept(",") && cursor.peek() != Some('}') {
            return Err(cursor.error("expected `,` or `}`"));
        }
    }
}

fn test(cursor: &mut Cursor<'_>) -> Result<Test, SelectError> {
    const OPERATORS: [&str; 4] = ["=~", "!~", "!=", "="];
    cursor.blanks();
    let operator = OPERATORS.into_iter().find(|operator| cursor.accept(operator));
    let operator = operator.ok_or_else(|| cursor.error("expected `=`, `!=`, `=~` or `!~`"))?;
    cursor.blanks();
    let at = cursor.at;
    let value = cursor.string()?;
    Ok(match operator {
        "=~" => Test::Regex(anchored(&value, at)?),
        "!~" => Test::NotRegex(anchored(&value, at)?),
        "!=" => Test::NotEqual(value),
        _ => Test::Equal(value),
    })
}

/// As Prometheus 3 does it: the whole value must match, and `.` is any character.
fn anchored(text: &str, at: usize) -> Result<Regex, SelectError> {
    let compile = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.size_limit(MAX_REGEX_BYTES).dfa_size_limit(MAX_REGEX_BYTES).nest_limit(MAX_REGEX_NESTING);
        builder.build().map_err(|source| SelectError::Regex { at, source: Box::new(source) })
    };
    // By itself first: `a)|(b` is no regular expression, but would be one inside the group.
    compile(text)?;
    compile(&format!("^(?s:{text})$"))
}

fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A place in the selector.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at = self.at.saturating_add(c.len_utf8());
        Some(c)
    }

    fn accept(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at = self.at.saturating_add(token.len());
        }
        found
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.next();
        }
    }

    /// A name of such characters that does not start with a digit.
    fn word(&mut self, part: impl Fn(char) -> bool) -> Option<&'a str> {
        let rest = self.rest();
        let length = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let word =
            rest.get(..length).filter(|word| !word.is_empty() && !word.starts_with(|c: char| c.is_ascii_digit()))?;
        self.at = self.at.saturating_add(length);
        Some(word)
    }

    fn error(&self, what: &'static str) -> SelectError {
        SelectError::Syntax { at: self.at, what }
    }

    /// A string in double, single or back quotes.
    fn string(&mut self) -> Result<String, SelectError> {
        let start = self.at;
        let unterminated = SelectError::Syntax { at: start, what: "unterminated string" };
        let quote = match self.next() {
            Some('`') => {
                let (value, _) = self.rest().split_once('`').ok_or(unterminated)?;
                self.at = self.at.saturating_add(value.len()).saturating_add(1);
                return Ok(value.to_owned());
            }
            Some(quote @ ('"' | '\'')) => quote,
            _ => return Err(SelectError::Syntax { at: start, what: "expected a string in quotes" }),
        };
        let mut value = Vec::new();
        loop {
            match self.next() {
                None | Some('\n') => return Err(unterminated),
                Some('\\') => self.escape(quote, &mut value)?,
                Some(c) if c == quote => break,
                Some(c) => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        String::from_utf8(value).map_err(|_| SelectError::Syntax { at: start, what: "the string is not UTF-8" })
    }

    /// What follows a backslash, as in Go.
    fn escape(&mut self, quote: char, value: &mut Vec<u8>) -> Result<(), SelectError> {
        let bad = self.error("unknown escape");
        let byte = match self.next() {
            Some('a') => 0x07,
            Some('b') => 0x08,
            Some('f') => 0x0c,
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('v') => 0x0b,
            Some('\\') => b'\\',
            Some(c) if c == quote => u8::try_from(c).unwrap_or_default(),
            Some('x') => self.digits(2, 16).and_then(|code| u8::try_from(code).ok()).ok_or(bad)?,
            Some(unicode @ ('u' | 'U')) => {
                let code = self.digits(if unicode == 'u' { 4 } else { 8 }, 16);
                let c = code.and_then(char::from_u32).ok_or(bad)?;
                value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            Some('0'..='7') => {
                self.at = self.at.saturating_sub(1);
                self.digits(3, 8).and_then(|code| u8::try_from(code).ok()).ok_or(bad)?
            }
            _ => return Err(bad),
        };
        value.push(byte);
        Ok(())
    }

    fn digits(&mut self, count: usize, radix: u32) -> Option<u32> {
        let digits = self.rest().get(..count)?;
        if !digits.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        self.at = self.at.saturating_add(count);
        u32::from_str_radix(digits, radix).ok()
    }
}
