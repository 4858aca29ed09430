//! SCRAM-SHA-256: both sides prove that they know a password, and neither sends it. It does no channel binding, because there is no TLS
//! to bind to, and no SASLprep: a password outside ASCII is used as it is written.
//!
//! **Source:** RFC 5802, RFC 7677.

use sha2::{Digest, Sha256};

/// Rounds of the password's hash. The server names the number, and a call has little time: this many take some tenths of a second.
/// PostgreSQL's default is 4,096.
pub(crate) const MAX_ITERATIONS: u32 = 100_000;

/// Bytes of a server's salt; PostgreSQL's have 16.
const MAX_SALT: usize = 256;

/// Bytes of a server's nonce, ours included; PostgreSQL's have 24 of their own.
const MAX_NONCE: usize = 256;

/// Why a server's message leads nowhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ScramError {
    /// It is not what the standard says.
    Malformed(&'static str),
    /// It asks for more than [`MAX_ITERATIONS`].
    Iterations(u32),
}

/// Our side before the server said anything.
pub(crate) struct Scram<'a> {
    password: &'a [u8],
    nonce: String,
    /// The first message without its header; it is part of what is signed.
    bare: String,
}

/// Our proof, and the one the server then owes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Proof {
    pub(crate) message: String,
    signature: [u8; 32],
}

impl<'a> Scram<'a> {
    /// `user` is empty with PostgreSQL, which knows it already. The nonce is text without commas.
    pub(crate) fn new(user: &str, password: &'a [u8], nonce: String) -> Scram<'a> {
        let bare = format!("n={user},r={nonce}");
        Scram { password, nonce, bare }
    }

    pub(crate) fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// Answers the server's first message, `r=NONCE,s=SALT,i=ITERATIONS`.
    ///
    /// **Errors:** [`ScramError`].
    pub(crate) fn prove(&self, server: &[u8]) -> Result<Proof, ScramError> {
        use ScramError::Malformed;
        let server = str::from_utf8(server).map_err(|_| Malformed("it is no text"))?;
        let mut parts = server.split(',');
        let mut part =
            |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(Malformed("a part is missing"));
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        let fresh = nonce.strip_prefix(self.nonce.as_str()).ok_or(Malformed("the nonce is not ours"))?;
        if fresh.is_empty() || nonce.len() > MAX_NONCE {
            return Err(Malformed("the nonce is too short or too long"));
        }
        let salt = decode_base64(salt).filter(|salt| salt.len() <= MAX_SALT).ok_or(Malformed("the salt is no salt"))?;
        let iterations: u32 = iterations.parse().map_err(|_| Malformed("the iterations are no number"))?;
        match iterations {
            0 => return Err(Malformed("there are no iterations")),
            1..=MAX_ITERATIONS => {}
            more => return Err(ScramError::Iterations(more)),
        }
        let salted = stretch(self.password, &salt, iterations);
        let client_key = Hmac::new(&salted).of(b"Client Key");
        let stored_key: [u8; 32] = Sha256::digest(client_key).into();
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{server},{without_proof}", self.bare);
        let client_signature = Hmac::new(&stored_key).of(signed.as_bytes());
        let mut proof = client_key;
        mix(&mut proof, &client_signature);
        let server_key = Hmac::new(&salted).of(b"Server Key");
        Ok(Proof {
            message: format!("{without_proof},p={}", encode_base64(&proof)),
            signature: Hmac::new(&server_key).of(signed.as_bytes()),
        })
    }
}

impl Proof {
    /// Whether the server's last message, `v=SIGNATURE`, could only be written by one that knows the password.
    pub(crate) fn is_answered_by(&self, server: &[u8]) -> bool {
        // One comparison in a conversation that ends with it tells nobody anything by its time.
        server.strip_prefix(b"v=").and_then(|rest| rest.split(|byte| *byte == b',').next())
            == Some(encode_base64(&self.signature).as_bytes())
    }
}

/// **Source:** RFC 2104.
#[derive(Clone)]
struct Hmac {
    inner: Sha256,
    outer: Sha256,
}

impl Hmac {
    fn new(key: &[u8]) -> Hmac {
        let short: [u8; 32];
        let key = if key.len() > 64 {
            short = Sha256::digest(key).into();
            &short
        } else {
            key
        };
        let pad = |mask: u8| {
            let mut block = [mask; 64];
            mix(&mut block, key);
            Sha256::new().chain_update(block)
        };
        Hmac { inner: pad(0x36), outer: pad(0x5c) }
    }

    fn of(&self, text: &[u8]) -> [u8; 32] {
        let inner = self.inner.clone().chain_update(text).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

/// PBKDF2 with HMAC-SHA-256 for one block, which is all that is needed.
///
/// **Source:** RFC 8018, section 5.2.
fn stretch(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    let hmac = Hmac::new(password);
    let mut round = hmac.of(&[salt, &[0, 0, 0, 1]].concat());
    let mut sum = round;
    for _ in 1..iterations {
        round = hmac.of(&round);
        mix(&mut sum, &round);
    }
    sum
}

/// Exclusive or, byte by byte, as far as both go.
pub(crate) fn mix(bytes: &mut [u8], others: &[u8]) {
    for (byte, other) in bytes.iter_mut().zip(others) {
        *byte ^= other;
    }
}

/// **Source:** RFC 4648, section 4.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for group in bytes.chunks(3) {
        let bits = group.iter().chain([0, 0].iter()).take(3).fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        for place in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or_default();
            let letter = ALPHABET.get(index).copied().unwrap_or_default();
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// `None`: it is not base64 with its padding.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len());
    for group in digits.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for digit in group {
            let value = ALPHABET.iter().position(|letter| letter == digit)?;
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        let missing = 4usize.checked_sub(group.len())?;
        bits <<= 6 * u32::try_from(missing).ok()?;
        let [_, whole @ ..] = bits.to_be_bytes();
        bytes.extend(whole.iter().take(3usize.checked_sub(missing)?));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Hmac, MAX_ITERATIONS, Scram, ScramError, decode_base64, encode_base64, stretch};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 7677, section 3.
    const FIRST: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn scram() -> Scram<'static> {
        Scram::new("user", b"pencil", "rOprNGfwEbeRWgbNEkqO".to_owned())
    }

    #[test]
    fn the_exchange_of_the_standard_is_reproduced() -> Result<(), ScramError> {
        assert_eq!(scram().first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proof = scram().prove(FIRST)?;
        assert_eq!(
            proof.message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(proof.is_answered_by(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!proof.is_answered_by(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!proof.is_answered_by(b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!proof.is_answered_by(b""));
        Ok(())
    }

    #[test]
    fn messages_that_are_not_scram_are_refused() {
        for (message, said) in [
            (&b""[..], "a part is missing"),
            (b"\xff", "it is no text"),
            (b"r=abc,s=W22Z,i=1", "the nonce is not ours"),
            (b"r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=1", "the nonce is too short or too long"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22,i=1", "the salt is no salt"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z", "a part is missing"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=0", "there are no iterations"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=-1", "the iterations are no number"),
            (b"m=x,r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=1", "a part is missing"),
        ] {
            assert_eq!(scram().prove(message), Err(ScramError::Malformed(said)));
        }
        let costly = format!("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i={}", MAX_ITERATIONS + 1);
        assert_eq!(scram().prove(costly.as_bytes()), Err(ScramError::Iterations(MAX_ITERATIONS + 1)));
    }

    /// RFC 4231, cases 2 and 6.
    #[test]
    fn codes_of_short_and_long_keys_are_right() {
        let code = Hmac::new(b"Jefe").of(b"what do ya want for nothing?");
        assert_eq!(hex(&code), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let code = Hmac::new(&[0xaa; 131]).of(b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(&code), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    /// RFC 7914, section 11 (its first half).
    #[test]
    fn passwords_are_stretched_as_the_standard_says() {
        assert_eq!(
            hex(&stretch(b"passwd", b"salt", 1)),
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
        );
    }

    /// RFC 4648, section 10.
    #[test]
    fn base64_goes_both_ways() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(encode_base64(bytes.as_bytes()), text);
            assert_eq!(decode_base64(text), Some(bytes.as_bytes().to_vec()));
        }
        for wrong in ["Z", "Zg", "Zg=", "Z===", "Zm9v====", "Zm-v", "Zg==Zg=="] {
            assert_eq!(decode_base64(wrong), None, "{wrong}");
        }
    }
}
