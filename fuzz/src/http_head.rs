//! Request heads as the status worker reads them: however they trickle in, the same comes of them.

// The worker keeps its parser to itself; it is built here a second time from the same file.
#[path = "../../core/status/src/head.rs"]
mod head;

use head::{Head, MAX_HEAD, Scanner};

/// Reads `input`, whose first byte says in what pieces it comes, as a request head.
pub fn http_head(input: &[u8]) {
    let Some((&piece, bytes)) = input.split_first() else { return };
    let piece = usize::from(piece).max(1);
    let at_once = Scanner::default().scan(bytes);
    let mut scanner = Scanner::default();
    let mut in_pieces = Ok(None);
    let mut seen = 0;
    while seen < bytes.len() && in_pieces == Ok(None) {
        seen = bytes.len().min(seen + piece);
        in_pieces = scanner.scan(&bytes[..seen]);
    }
    assert_eq!(at_once, in_pieces, "pieces of {piece}");
    let Ok(Some(length)) = at_once else { return };
    assert!(scanner.started(), "a head without a first byte");
    assert!(length <= MAX_HEAD && length <= bytes.len());
    if let Ok(head) = Head::parse(&bytes[..length]) {
        assert!(!head.target.is_empty() && head.target.bytes().all(|byte| byte.is_ascii_graphic()), "{head:?}");
        let _ = head.accepts("text/html");
    }
}
