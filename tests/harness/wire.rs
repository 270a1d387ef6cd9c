//! Pieces of Kafka's protocol, to read them from and to write them to.

/// Reads what came; past its end there are zeros.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (piece, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *piece
    }

    pub(crate) fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.take())
    }

    pub(crate) fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    pub(crate) fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    pub(crate) fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }

    /// `None` = null.
    pub(crate) fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.i16()).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    pub(crate) fn bytes(&mut self) -> &[u8] {
        let length = usize::try_from(self.i32()).unwrap_or(0);
        let (bytes, rest) = self.0.split_at_checked(length).unwrap_or((self.0, &[]));
        self.0 = rest;
        bytes
    }

    /// A length as [`Writer::count`] writes it; `None` = null.
    pub(crate) fn count(&mut self) -> Option<usize> {
        let (mut count, mut shift) = (0, 0);
        loop {
            let [byte] = self.take();
            count |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return count.checked_sub(1);
            }
        }
    }

    /// A text as flexible versions have it; `None` = null.
    pub(crate) fn compact(&mut self) -> Option<String> {
        let length = self.count()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

/// Writes what is sent.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn i8(&mut self, value: i8) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn i16(&mut self, value: i16) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn i64(&mut self, value: i64) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.i16(i16::try_from(text.len()).unwrap()).put(text.as_bytes())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.i32(i32::try_from(bytes.len()).unwrap()).put(bytes)
    }

    /// A length as flexible versions have it: one more, seven bits at a time.
    pub(crate) fn count(&mut self, count: usize) -> &mut Self {
        self.sevens(u32::try_from(count + 1).unwrap())
    }

    /// A number, seven bits at a time.
    fn sevens(&mut self, mut left: u32) -> &mut Self {
        while left >= 0x80 {
            self.0.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
            left >>= 7;
        }
        self.put(&[u8::try_from(left).unwrap()])
    }

    /// Null in place of a text or a list, as flexible versions have it.
    pub(crate) fn null(&mut self) -> &mut Self {
        self.i8(0)
    }

    /// A number as records have it: small ones in few bytes, whichever their sign.
    pub(crate) fn zigzag(&mut self, value: i32) -> &mut Self {
        self.sevens((value << 1 ^ value >> 31).cast_unsigned())
    }

    /// A text as flexible versions have it.
    pub(crate) fn compact(&mut self, text: &str) -> &mut Self {
        self.count(text.len()).put(text.as_bytes())
    }

    /// All that was written.
    pub(crate) fn written(&self) -> &[u8] {
        &self.0
    }

    /// All that was written, with its length before it.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let length = i32::try_from(self.0.len()).unwrap();
        [&length.to_be_bytes()[..], &self.0].concat()
    }
}
