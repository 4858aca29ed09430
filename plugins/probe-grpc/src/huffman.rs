//! The code that HPACK shortens strings with. Only reading: what is sent is short and goes as it is.
//!
//! **Source:** RFC 7541, section 5.2 and appendix B. The code is canonical, so how many symbols each length has, and in which order, is all of it.

/// Symbols that have codes of 0, 1, 2 … bits. The end-of-string symbol, the last of 30 bits, is not counted: it must not appear.
const COUNTS: [u8; 31] =
    [0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 0, 3];

/// The symbols in the order of their codes.
const SYMBOLS: [u8; 256] = [
    48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57, 61, 65, 95, 98, 100,
    102, 103, 104, 108, 109, 110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81,
    82, 83, 84, 85, 86, 87, 89, 106, 107, 113, 118, 119, 120, 121, 122, 38, 42, 44, 59, 88, 90, 33, 34, 40, 41, 63, 39,
    43, 124, 35, 62, 0, 36, 64, 91, 93, 126, 94, 125, 60, 96, 123, 92, 195, 208, 128, 130, 131, 162, 184, 194, 224,
    226, 153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156, 160,
    163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233, 1, 135, 137, 138, 139, 140,
    141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191, 197, 231, 239,
    9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210,
    213, 218, 219, 238, 240, 242, 243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250,
    251, 252, 253, 254, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30,
    31, 127, 220, 249, 10, 13, 22,
];

/// Not a string in this code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wrong;

/// What `bytes` stand for. No more than eight bytes for five.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<u8>, Wrong> {
    let mut out = Vec::new();
    let mut prefix = Prefix::default();
    for byte in bytes {
        for shift in (0..8).rev() {
            if let Some(symbol) = prefix.add(byte >> shift & 1)? {
                out.push(symbol);
                prefix = Prefix::default();
            }
        }
    }
    // What is left must be the beginning of the end-of-string symbol, and less than a byte.
    if prefix.length < 8 && prefix.is_ones { Ok(out) } else { Err(Wrong) }
}

/// The beginning of a code.
struct Prefix {
    code: u32,
    length: usize,
    is_ones: bool,
    /// The first code of this length.
    first: u32,
    /// Symbols with shorter codes.
    shorter: usize,
}

impl Default for Prefix {
    fn default() -> Prefix {
        Prefix { code: 0, length: 0, is_ones: true, first: 0, shorter: 0 }
    }
}

impl Prefix {
    /// Adds a bit. The symbol, if the code is whole.
    fn add(&mut self, bit: u8) -> Result<Option<u8>, Wrong> {
        self.code = self.code << 1 | u32::from(bit);
        self.is_ones &= bit == 1;
        self.length += 1;
        let count = COUNTS.get(self.length).copied().ok_or(Wrong)?;
        let index = usize::try_from(self.code.wrapping_sub(self.first)).map_err(|_| Wrong)?;
        if index < usize::from(count) {
            return SYMBOLS.get(self.shorter + index).copied().map(Some).ok_or(Wrong);
        }
        self.first = (self.first + u32::from(count)) << 1;
        self.shorter += usize::from(count);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::{Wrong, decode};

    /// **Source:** RFC 7541, appendix C.4 and C.6.
    #[test]
    fn strings_of_the_standard_are_read() {
        for (bytes, text) in [
            (&b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..], "www.example.com"),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", "custom-value"),
            (
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (b"\x64\x02", "302"),
            (b"", ""),
        ] {
            assert_eq!(decode(bytes).as_deref(), Ok(text.as_bytes()));
        }
    }

    #[test]
    fn every_symbol_has_its_code() {
        // The first and the last of every length there is, from the table of the standard.
        for (code, length, symbol) in [
            (0x0_u32, 5, 48),
            (0x9, 5, 116),
            (0x14, 6, 32),
            (0x2d, 6, 117),
            (0x5c, 7, 58),
            (0x7b, 7, 122),
            (0xf8, 8, 38),
            (0xfd, 8, 90),
            (0x3f8, 10, 33),
            (0x3fc, 10, 63),
            (0x7fa, 11, 39),
            (0x7fc, 11, 124),
            (0xffa, 12, 35),
            (0xffb, 12, 62),
            (0x1ff8, 13, 0),
            (0x1ffd, 13, 126),
            (0x3ffc, 14, 94),
            (0x3ffd, 14, 125),
            (0x7ffc, 15, 60),
            (0x7ffe, 15, 123),
            (0x7_fff0, 19, 92),
            (0x7_fff2, 19, 208),
            (0xf_ffe6, 20, 128),
            (0xf_ffed, 20, 226),
            (0x1f_ffdc, 21, 153),
            (0x1f_ffe8, 21, 230),
            (0x3f_ffd2, 22, 129),
            (0x3f_ffeb, 22, 233),
            (0x7f_ffd8, 23, 1),
            (0x7f_fff4, 23, 239),
            (0xff_ffea, 24, 9),
            (0xff_fff5, 24, 237),
            (0x1ff_ffec, 25, 199),
            (0x1ff_ffef, 25, 235),
            (0x3ff_ffe0, 26, 192),
            (0x3ff_ffee, 26, 255),
            (0x7ff_ffde, 27, 203),
            (0x7ff_fff0, 27, 254),
            (0xfff_ffe2, 28, 2),
            (0xfff_fffe, 28, 249),
            (0x3fff_fffc, 30, 10),
            (0x3fff_fffe, 30, 22),
        ] {
            // Left, and filled up with ones.
            let bits = (u64::from(code) << (64 - length)) | (u64::MAX >> length);
            let bytes: Vec<u8> = bits.to_be_bytes().into_iter().take(usize::div_ceil(length, 8)).collect();
            assert_eq!(decode(&bytes), Ok(vec![symbol]), "{code:x}");
        }
    }

    #[test]
    fn what_ends_wrong_is_no_string() {
        for bytes in [&b"\xff"[..], b"\xff\xff", b"\xff\xff\xff\xff", b"\x00", b"\x18\x00", b"\xff\xff\xff\xfc"] {
            assert_eq!(decode(bytes), Err(Wrong), "{bytes:x?}");
        }
    }
}
