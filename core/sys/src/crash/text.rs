//! Text of a fixed size, for code that may not allocate.

use std::ffi::CStr;
use std::fmt;

/// At most `SIZE` - 1 bytes, followed by a zero; what does not fit is cut off.
pub(super) struct Text<const SIZE: usize> {
    bytes: [u8; SIZE],
    len: usize,
}

impl<const SIZE: usize> Text<SIZE> {
    pub(super) const fn new() -> Text<SIZE> {
        Text { bytes: [0; SIZE], len: 0 }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Up to the first zero, which is there: the last byte is never written.
    pub(super) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }

    /// Makes it one line: control characters become spaces, a newline ends it, in place of the last byte if need be.
    pub(super) fn end_line(&mut self) {
        for byte in self.bytes.iter_mut().take(self.len).filter(|byte| byte.is_ascii_control()) {
            *byte = b' ';
        }
        self.len = self.len.min(SIZE.saturating_sub(2)) + 1;
        if let Some(last) = self.bytes.get_mut(self.len - 1) {
            *last = b'\n';
        }
    }
}

impl<const SIZE: usize> fmt::Write for Text<SIZE> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..SIZE.saturating_sub(1)).unwrap_or_default();
        let fitting = room.len().min(text.len());
        for (place, byte) in room.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        self.len += fitting;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Text;
    use std::fmt::Write;

    #[test]
    fn cuts_what_does_not_fit() -> std::fmt::Result {
        let mut text = Text::<8>::new();
        write!(text, "ab\ncd{}", 12345)?;
        assert_eq!((text.as_bytes(), text.as_c_str()), (&b"ab\ncd12"[..], c"ab\ncd12"));
        text.end_line();
        assert_eq!(text.as_bytes(), b"ab cd1\n");
        let mut short = Text::<8>::new();
        write!(short, "a\0b")?;
        assert_eq!(short.as_c_str(), c"a");
        short.end_line();
        assert_eq!(short.as_bytes(), b"a b\n");
        Ok(())
    }
}
