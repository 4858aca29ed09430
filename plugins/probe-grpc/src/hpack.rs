//! How HTTP/2 writes header fields. Ours go as they are; those of the server may use all there is, within limits: it decides about every length and
//! how often a long field is repeated by a single byte.
//!
//! **Source:** RFC 7541.

use std::collections::VecDeque;
use std::fmt;

use crate::huffman;

/// Bytes of the fields that are remembered, as the protocol counts them. What both sides start with; more need not be offered.
pub(crate) const MAX_TABLE: usize = 4096;

/// Bytes of all fields of one block, as the protocol counts them. Offered to the server, and not exceeded whatever it does. Servers send some
/// hundred bytes; proxies in between add a few more.
pub(crate) const MAX_LIST: usize = 16 * 1024;

/// What a field counts for beyond its bytes. **Source:** section 4.1.
const OVERHEAD: usize = 32;

/// Largest number that is read. No length or index of a block within the limits comes near it.
const MAX_NUMBER: usize = 1 << 20;

/// Fields both sides know. **Source:** appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// A header field.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Field {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Field {
    fn size(&self) -> usize {
        self.name.len().saturating_add(self.value.len()).saturating_add(OVERHEAD)
    }
}

/// Adds a field to a block. One that is `discreet` is not to be remembered by anyone on the way.
pub(crate) fn encode(out: &mut Vec<u8>, name: &str, value: &str, discreet: bool) {
    out.push(if discreet { 0x10 } else { 0 });
    for text in [name, value] {
        encode_length(out, text.len());
        out.extend_from_slice(text.as_bytes());
    }
}

/// A number behind a bit that is not set: no Huffman code. **Source:** section 5.1.
fn encode_length(out: &mut Vec<u8>, number: usize) {
    if let Ok(short @ 0..=126) = u8::try_from(number) {
        out.push(short);
        return;
    }
    out.push(127);
    let mut rest = number.saturating_sub(127);
    while rest > 127 {
        out.push(u8::try_from(rest % 128).unwrap_or_default() | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap_or_default());
}

/// Not a block of header fields: what is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

const CUT: Malformed = Malformed("they end too early");

/// Reads the blocks of one connection, each of which may refer to what came before.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The newest first.
    table: VecDeque<Field>,
    size: usize,
    /// What the server says it uses of what it may.
    capacity: usize,
    allowed: usize,
}

impl Decoder {
    /// One that remembers `allowed` bytes.
    pub(crate) fn new(allowed: usize) -> Decoder {
        Decoder { table: VecDeque::new(), size: 0, capacity: allowed, allowed }
    }

    /// The fields of a block.
    ///
    /// **Errors:** it is not one, or has too many. The connection cannot be used any more then.
    pub(crate) fn decode(&mut self, block: &[u8]) -> Result<Vec<Field>, Malformed> {
        let mut rest = block;
        let mut fields = Vec::new();
        let mut size = 0_usize;
        while let Some(&first) = rest.first() {
            let field = match first {
                0x80.. => self.entry(number(&mut rest, 7)?)?,
                0x40.. => {
                    let field = self.literal(&mut rest, 6)?;
                    self.remember(field.clone());
                    field
                }
                0x20.. => {
                    let capacity = number(&mut rest, 5)?;
                    if !fields.is_empty() {
                        return Err(Malformed("they resize the table in their midst"));
                    }
                    if capacity > self.allowed {
                        return Err(Malformed("they want a larger table than was offered"));
                    }
                    self.capacity = capacity;
                    self.shrink(capacity);
                    continue;
                }
                _ => self.literal(&mut rest, 4)?,
            };
            size = size.saturating_add(field.size());
            if size > MAX_LIST {
                return Err(Malformed("they have more than 16 KiB"));
            }
            fields.push(field);
        }
        Ok(fields)
    }

    fn entry(&self, index: usize) -> Result<Field, Malformed> {
        let wrong = Malformed("they refer to a field that is not there");
        let index = index.checked_sub(1).ok_or(wrong)?;
        if let Some((name, value)) = STATIC.get(index) {
            return Ok(Field { name: name.as_bytes().to_vec(), value: value.as_bytes().to_vec() });
        }
        self.table.get(index - STATIC.len()).cloned().ok_or(wrong)
    }

    /// A field with a value of its own, and a name that may be known; `bits` say which.
    fn literal(&self, rest: &mut &[u8], bits: u32) -> Result<Field, Malformed> {
        let name = match number(rest, bits)? {
            0 => string(rest)?,
            index => self.entry(index)?.name,
        };
        Ok(Field { name, value: string(rest)? })
    }

    fn remember(&mut self, field: Field) {
        let size = field.size();
        self.shrink(self.capacity.saturating_sub(size));
        // One that is larger than the table empties it. **Source:** section 4.4.
        if size <= self.capacity {
            self.size += size;
            self.table.push_front(field);
        }
    }

    /// Forgets the oldest until no more than `size` bytes are left.
    fn shrink(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.table.pop_back() else { break };
            self.size = self.size.saturating_sub(oldest.size());
        }
    }
}

/// A number that begins with the last `bits` of a byte. **Source:** section 5.1.
fn number(rest: &mut &[u8], bits: u32) -> Result<usize, Malformed> {
    let mut next = || {
        let (first, after) = rest.split_first().ok_or(CUT)?;
        *rest = after;
        Ok(usize::from(*first))
    };
    let mask = (1 << bits) - 1;
    let mut value = next()? & mask;
    if value < mask {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = next()?;
        value = value.saturating_add((byte & 127) << shift);
        if value > MAX_NUMBER {
            break;
        }
        if byte < 128 {
            return Ok(value);
        }
    }
    Err(Malformed("they have a number that is too large"))
}

/// **Source:** section 5.2.
fn string(rest: &mut &[u8]) -> Result<Vec<u8>, Malformed> {
    let is_coded = rest.first().is_some_and(|first| first & 128 != 0);
    let length = number(rest, 7)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(CUT)?;
    *rest = after;
    if is_coded {
        huffman::decode(bytes).map_err(|_| Malformed("they have a string with a broken code"))
    } else {
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::{Decoder, Field, MAX_TABLE, encode};

    fn field(name: &str, value: &str) -> Field {
        Field { name: name.as_bytes().to_vec(), value: value.as_bytes().to_vec() }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter_map(|c| char::from(c).to_digit(16)?.try_into().ok()).collect();
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
    }

    /// **Source:** RFC 7541, appendix C.6: Huffman codes, and a table of 256 bytes that overflows.
    #[test]
    fn the_answers_of_the_standard_are_read_one_after_the_other() {
        let mut decoder = Decoder::new(256);
        let first = bytes(
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 \
             e9ae 82ae 43d3",
        );
        let date = field("date", "Mon, 21 Oct 2013 20:13:21 GMT");
        let (private, location) = (field("cache-control", "private"), field("location", "https://www.example.com"));
        let expected = vec![field(":status", "302"), private.clone(), date.clone(), location.clone()];
        assert_eq!(decoder.decode(&first), Ok(expected));
        assert_eq!(decoder.size, 222);
        let expected = vec![field(":status", "307"), private.clone(), date, location.clone()];
        assert_eq!(decoder.decode(&bytes("4883 640e ffc1 c0bf")), Ok(expected));
        assert_eq!(decoder.size, 222);
        let third = bytes(
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b \
             3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        );
        let expected = vec![
            field(":status", "200"),
            private,
            field("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
            location,
            field("content-encoding", "gzip"),
            field("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
        ];
        assert_eq!(decoder.decode(&third), Ok(expected));
        assert_eq!(decoder.size, 215);
    }

    #[test]
    fn what_is_written_can_be_read() {
        for length in [0, 1, 126, 127, 128, 254, 255, 256, 5000] {
            let long = "x".repeat(length);
            let mut block = Vec::new();
            encode(&mut block, "name", &long, false);
            encode(&mut block, &long, "value", true);
            let expected = vec![field("name", &long), field(&long, "value")];
            assert_eq!(Decoder::new(MAX_TABLE).decode(&block), Ok(expected), "{length}");
        }
    }

    #[test]
    fn what_is_broken_or_too_much_is_refused() {
        for (hex, said) in [
            ("80", "not there"),
            ("be", "not there"),
            ("ff 00", "not there"),
            ("ff ffffffff 7f", "too large"),
            ("ff 8080808000", "too large"),
            ("40", "end too early"),
            ("40 03 6161", "end too early"),
            ("40 01 61 81", "end too early"),
            ("00 01 61 81 ff", "broken code"),
            ("3f e1ff03", "larger table"),
            ("88 20", "in their midst"),
            ("7f", "end too early"),
        ] {
            let outcome = Decoder::new(MAX_TABLE).decode(&bytes(hex));
            assert!(outcome.as_ref().is_err_and(|error| error.to_string().contains(said)), "{hex}: {outcome:?}");
        }
        // A long field, and then a byte each for many more of it.
        let mut bomb = vec![0x40];
        for text in ["x".repeat(2000), "y".repeat(2000)] {
            bomb.push(127);
            bomb.extend([0xd1, 0x0e]);
            bomb.extend(text.bytes());
        }
        assert_eq!(Decoder::new(MAX_TABLE).decode(&bomb).map(|fields| fields.len()), Ok(1));
        bomb.extend([0xbe; 10_000]);
        assert!(Decoder::new(MAX_TABLE).decode(&bomb).is_err_and(|error| error.to_string().contains("16 KiB")));
    }

    #[test]
    fn the_table_stays_within_what_was_offered() {
        let mut decoder = Decoder::new(100);
        for number in 0..50 {
            let block = [&[0x40, 1, b'n', 2][..], format!("{number:02}").as_bytes()].concat();
            assert!(decoder.decode(&block).is_ok());
            assert!(decoder.size <= 100 && decoder.table.len() <= 2);
        }
        assert_eq!(decoder.decode(&[0xbe]), Ok(vec![field("n", "49")]));
        // Larger than the table.
        let block = [&[0x40, 1, b'n', 80][..], &[b'x'; 80]].concat();
        assert!(decoder.decode(&block).is_ok());
        assert_eq!((decoder.size, decoder.table.len()), (0, 0));
        // None at all.
        assert!(decoder.decode(&[0x20, 0x40, 1, b'n', 1, b'x']).is_ok());
        assert_eq!(decoder.table.len(), 0);
    }
}
