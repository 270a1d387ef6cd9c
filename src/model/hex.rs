//! Bytes as text. Pure.

/// Bytes in hexadecimal.
pub fn of(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// What [`of`] was given.
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [_, _] => u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        assert_eq!(of(&[0, 0xa5, 0xff]), "00a5ff");
        assert_eq!(bytes("00a5ff"), Some(vec![0, 0xa5, 0xff]));
        assert_eq!((bytes("0"), bytes("0g"), bytes("é")), (None, None, None));
    }
}
