//! `/` in a browser: one file that fetches `/status` and draws it. It loads nothing from elsewhere, and everything it shows is set as
//! text, never as markup.

use std::borrow::Cow;

use crate::reply::Reply;

const PAGE: &str = include_str!("page.html");

/// The page. The policy names its own script and style by their digests, so that no other could run even if one were smuggled in. A test
/// keeps the digests true.
pub(crate) fn reply() -> Reply {
    Reply {
        status: 200,
        content_type: "text/html; charset=utf-8",
        fields: &[("Content-Security-Policy", POLICY), ("Vary", "Accept"), ("Referrer-Policy", "no-referrer")],
        body: Cow::Borrowed(PAGE.as_bytes()),
    }
}

const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; \
    script-src 'sha256-awQttO+w4GZ6hehkq8OkfXMhTvCov6YHUUAizcRhxsc='; \
    style-src 'sha256-QMAYy/me2DsgoiLxNlHkZIXyAwBsSBeDspMh63UAugE='";

#[cfg(test)]
mod tests {
    use super::{PAGE, POLICY};
    use sha2::{Digest, Sha256};

    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let group = chunk.iter().chain(&[0, 0]).take(3).fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            for place in 0..4 {
                let letter = LETTERS.get(group >> (18 - 6 * place) & 63).copied().unwrap_or_default();
                text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
            }
        }
        text
    }

    fn digest(element: &str) -> String {
        let after = PAGE.split_once(&format!("<{element}>")).unwrap_or_default().1;
        let text = after.split_once(&format!("</{element}>")).unwrap_or_default().0;
        assert!(!text.is_empty(), "no {element}");
        format!("'sha256-{}'", base64(&Sha256::digest(text)))
    }

    #[test]
    fn base64_is_base64() {
        assert_eq!(
            ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes())),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
    }

    #[test]
    fn the_policy_allows_the_page_and_nothing_else() {
        for element in ["script", "style"] {
            let expected = format!("{element}-src {}", digest(element));
            assert!(POLICY.contains(&expected), "write {expected} into POLICY");
        }
        assert!(!POLICY.contains("unsafe") && !PAGE.contains(" style=") && !PAGE.contains("innerHTML"));
    }

    #[test]
    fn the_page_is_small_and_stands_alone() {
        assert!(PAGE.len() <= 12 * 1024, "{} bytes", PAGE.len());
        assert!(!PAGE.contains("http://") && !PAGE.contains("https://") && !PAGE.contains("src="));
    }
}
