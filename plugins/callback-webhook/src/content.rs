//! What is sent: an event as JSON, and its signature.

use hilum_plugin::Event;
use hilum_plugin::json::quoted;
use sha2::{Digest, Sha256};

/// The event as it is sent.
///
/// **Errors:** its body is no JSON object. Only its ends are looked at: it is the host's word, and may be long.
pub(crate) fn json(event: &Event) -> Result<String, String> {
    let body = match event.body.trim() {
        "" => "{}",
        body if body.starts_with('{') && body.ends_with('}') => body,
        body => {
            return Err(format!("the event's body is no JSON object but has {} bytes of something else", body.len()));
        }
    };
    let service = event.service.as_deref().map_or_else(|| "null".to_owned(), quoted);
    let (name, id, at) = (quoted(&event.name), quoted(&event.id), moment(event.at));
    Ok(format!(r#"{{"name":{name},"id":{id},"at":"{at}","service":{service},"body":{body}}}"#))
}

/// A moment for people and programs, from nanoseconds since 1970.
///
/// **Source:** RFC 3339; the days as in "chrono-compatible low-level date algorithms" by Howard Hinnant, from March on.
fn moment(at: u64) -> String {
    let (seconds, nanoseconds) = (at / 1_000_000_000, at % 1_000_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of the year 0, and of its era of 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
}

/// HMAC-SHA256 of `content` under `key`, in hexadecimal.
///
/// **Source:** RFC 2104.
pub(crate) fn signature(key: &[u8], content: &[u8]) -> String {
    /// Bytes that the digest takes at a time.
    const BLOCK: usize = 64;
    let mut block = if key.len() > BLOCK { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block.resize(BLOCK, 0);
    let padded = |mask: u8| block.iter().map(|byte| byte ^ mask).collect::<Vec<u8>>();
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(content).finalize();
    let outer = Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize();
    outer.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::{moment, signature};

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (at, expected) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399_999_999_999, "2000-02-28T23:59:59.999999999Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
            (951_868_800_000_000_000, "2000-03-01T00:00:00.000000000Z"),
            (1_798_761_599_000_000_001, "2026-12-31T23:59:59.000000001Z"),
            (1_800_000_000_000_000_000, "2027-01-15T08:00:00.000000000Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(moment(at), expected);
        }
    }

    /// **Source:** RFC 4231, sections 4.2, 4.3 and 4.7.
    #[test]
    fn signatures_are_those_of_the_standard() {
        for (key, content, expected) in [
            (vec![0x0b; 20], "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(signature(&key, content.as_bytes()), expected);
        }
    }
}
