//! Reads decisions from bytes, one after the other; zeros once they are used up. A small change of the input is a small change of what is
//! read, which is what a fuzzer needs.

/// The bytes and what is left of them.
pub(crate) struct Tape<'a>(&'a [u8]);

impl<'a> Tape<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Tape<'a> {
        Tape(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        match self.0 {
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
            [] => 0,
        }
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// One of `choices`, which are not empty.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// Any number, small ones and the ends of the range first among them.
    pub(crate) fn number(&mut self) -> u64 {
        let kind = self.byte();
        let value = u64::from(self.byte());
        match kind % 8 {
            0 => value % 4,
            1 => value,
            2 => value << 10,
            3 => value << 20,
            4 => value << 30,
            5 => value << 56,
            6 => u64::MAX - value,
            _ => (0..7).fold(value, |sum, _| sum << 8 | u64::from(self.byte())),
        }
    }
}
