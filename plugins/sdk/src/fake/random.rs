//! Chance for tests, and what it is wanted for: good answers, damaged.

use super::Step;

/// Chance that is the same each time, so that what it finds is found again: Marsaglia's xorshift. A probe must take whatever comes over the
/// wire, and this makes whatever comes of what a good server sends:
///
/// ```
/// use hilum_plugin::fake::{FakeHost, Random};
///
/// /// What this protocol is sensitive to.
/// const PIECES: &[&[u8]] = &[b"\r\n", b"*-1\r\n", b"$99999999999\r\n"];
///
/// let mut random = Random::new();
/// for _ in 0..1000 {
///     let mut answer = b"-LOADING\r\n".to_vec();
///     for _ in 0..=random.below(4) {
///         random.damage(&mut answer, |random| random.pick(PIECES).to_vec());
///     }
///     let host = FakeHost::new().with_peer("127.0.0.1", 6379, random.steps(&answer));
///     // Here the probe is called with this host. What it must not do is pass, or panic.
/// }
/// ```
///
/// Begin with an answer that no few changes turn into the expected one; then no damage may make the probe pass.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Where it begins: the golden ratio's digits, whose bits look like none in particular.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The one that every test may begin with.
    #[must_use]
    pub const fn new() -> Random {
        Random(SEED)
    }

    /// Another one. What a test found with it is found again with it.
    #[must_use]
    pub const fn seeded(seed: u64) -> Random {
        // Nothing ever comes of 0 but 0.
        Random(if seed == 0 { SEED } else { seed })
    }

    /// A number less than `bound`; 0 if there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap_or(u64::MAX)).unwrap_or_default()
    }

    /// A byte, each as likely as another.
    pub fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or_default()
    }

    /// One of them, each as likely as another; if there is none, the type's default.
    pub fn pick<T: Clone + Default>(&mut self, from: &[T]) -> T {
        from.get(self.below(from.len())).cloned().unwrap_or_default()
    }

    /// Up to `most` of the pieces one after the other, none too.
    pub fn text(&mut self, pieces: &[&[u8]], most: usize) -> Vec<u8> {
        (0..self.below(most.saturating_add(1))).flat_map(|_| self.pick(pieces)).copied().collect()
    }

    /// Does one damage to `bytes`, somewhere: a byte becomes another, comes in between or is missing, a bit is flipped, a part is cut out, is
    /// there twice or stands elsewhere, the end is missing, or a `piece` comes in between or over what was there. A piece is what the protocol
    /// is sensitive to, a frame or a length, which blind chance would not make in a year. Now and then nothing changes.
    pub fn damage(&mut self, bytes: &mut Vec<u8>, piece: impl FnOnce(&mut Random) -> Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let next = (at + 1).min(bytes.len());
        let end = at + self.below(bytes.len() - at + 1);
        // What changes least gets furthest into the plugin, so it is done most.
        match self.below(16) {
            0..=4 => drop(bytes.splice(at..next, [self.byte()])),
            5 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1_u8 << self.below(8)),
            6 => bytes.insert(at, self.byte()),
            7 => drop(bytes.drain(at..next)),
            8 => drop(bytes.drain(at..end)),
            9 => {
                let part = bytes.get(at..end).unwrap_or_default().to_vec();
                bytes.splice(at..at, part);
            }
            10 => {
                let part: Vec<u8> = bytes.drain(at..end).collect();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, part.repeat(1 + self.below(2)));
            }
            11 => bytes.truncate(at),
            _ => {
                let piece = piece(self);
                let over = if self.below(2) == 0 { 0 } else { piece.len() };
                bytes.splice(at..at.saturating_add(over).min(bytes.len()), piece);
            }
        }
    }

    /// How a peer sends `bytes` and ends: at once, in small pieces or byte by byte; then one of the [endings](Random::ending).
    pub fn steps(&mut self, bytes: &[u8]) -> Vec<Step> {
        let mut steps = match self.below(3) {
            0 => vec![Step::Send(bytes.to_vec())],
            1 => vec![Step::Drip { bytes: bytes.to_vec(), every_ms: 0 }],
            _ => {
                let mut rest = bytes;
                let mut steps = Vec::new();
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at((1 + self.below(12)).min(rest.len()));
                    steps.push(Step::Send(piece.to_vec()));
                    rest = after;
                }
                steps
            }
        };
        steps.extend(self.ending());
        steps
    }

    /// What a peer does when it has sent everything: it says no more, breaks off, or ends its side, which is no step.
    pub fn ending(&mut self) -> Option<Step> {
        self.pick(&[Some(Step::Hang), Some(Step::Reset), None])
    }
}

impl Default for Random {
    fn default() -> Random {
        Random::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Random, Step};

    #[test]
    fn numbers_are_below_their_bound_and_the_same_each_time() {
        let numbers = |mut random: Random| (0..1000).map(|_| random.below(100)).collect::<Vec<usize>>();
        let all = numbers(Random::new());
        assert!(all.iter().all(|number| *number < 100));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 100);
        assert_eq!(all, numbers(Random::default()));
        assert_ne!(all, numbers(Random::seeded(1)));
        assert_eq!(numbers(Random::seeded(0)).iter().collect::<BTreeSet<_>>().len(), 100);
        assert_eq!([0, 1].map(|bound| Random::new().below(bound)), [0, 0]);
        let mut random = Random::new();
        assert_eq!((0..10_000).map(|_| random.byte()).collect::<BTreeSet<_>>().len(), 256);
    }

    #[test]
    fn something_is_picked_where_there_is_something() {
        let mut random = Random::new();
        let picked: BTreeSet<u16> = (0..100).map(|_| random.pick(&[1, 2, 3])).collect();
        assert_eq!(picked, BTreeSet::from([1, 2, 3]));
        assert_eq!(random.pick::<u16>(&[]), 0);
        let texts: BTreeSet<Vec<u8>> = (0..1000).map(|_| random.text(&[b"ab", b"c"], 2)).collect();
        let expected = ["", "ab", "c", "abab", "abc", "cab", "cc"].map(|text| text.as_bytes().to_vec());
        assert_eq!(texts, BTreeSet::from(expected));
        assert!(random.text(&[], 9).is_empty());
    }

    #[test]
    fn every_kind_of_damage_is_done_everywhere() {
        let mut random = Random::new();
        let mut damaged = |good: &[u8]| {
            let one = || {
                let mut bytes = good.to_vec();
                random.damage(&mut bytes, |_| b"XY".to_vec());
                bytes
            };
            std::iter::repeat_with(one).take(100_000).collect::<BTreeSet<Vec<u8>>>()
        };
        let made = damaged(b"abcd");
        for expected in [
            // Another byte, one between, one missing, a bit flipped.
            "abzd", "abcdz", "zabcd", "abzcd", "abd", "abc", "bcd", "qbcd", "abcD",
            // A part cut out, doubled, moved once and twice; the end missing.
            "ad", "", "ababcd", "abcdabcd", "abccd", "cdab", "bacd", "cdcdab", "a", "ab",
            // The piece, between and over.
            "abXYcd", "XYabcd", "abcdXY", "aXYd", "XYcd", "abcXY",
        ] {
            assert!(made.contains(expected.as_bytes()), "{expected:?} was not made");
        }
        let made = damaged(b"");
        assert!(made.contains(&b"XY"[..]) && made.contains(&b""[..]) && made.len() == 258);
    }

    #[test]
    fn peers_send_all_in_three_ways_and_end_in_three() {
        let mut random = Random::new();
        let bytes: Vec<u8> = (0..100).collect();
        let mut ways = BTreeSet::new();
        for _ in 0..1000 {
            let steps = random.steps(&bytes);
            let mut sent = Vec::new();
            let mut way = [0; 4];
            for step in &steps {
                let [sends, drips, hangs, resets] = &mut way;
                let count = match step {
                    Step::Send(part) => {
                        sent.extend_from_slice(part);
                        sends
                    }
                    Step::Drip { bytes, .. } => {
                        sent.extend_from_slice(bytes);
                        drips
                    }
                    Step::Hang => hangs,
                    Step::Reset => resets,
                };
                *count = (*count + 1).min(2);
            }
            assert_eq!(sent, bytes, "{steps:?}");
            ways.insert(way);
        }
        let sendings = [[1, 0], [0, 1], [2, 0]];
        let endings = [[0, 0], [1, 0], [0, 1]];
        let expected = sendings
            .iter()
            .flat_map(|[sends, drips]| endings.iter().map(move |[hangs, resets]| [*sends, *drips, *hangs, *resets]));
        assert_eq!(ways, expected.collect());
        assert!(random.steps(b"").len() <= 2);
    }
}
