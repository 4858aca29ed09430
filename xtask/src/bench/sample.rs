//! What many samples say: the median, which a busy moment does not move, and the 95th and 99th percentile, which show how bad it gets.

/// Samples of one quantity, in its unit.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    /// One value that is known and not sampled.
    pub(super) fn exactly(value: f64) -> Samples {
        Samples(vec![value])
    }

    pub(super) fn push(&mut self, value: f64) {
        let at = self.0.partition_point(|known| *known <= value);
        self.0.insert(at, value);
    }

    /// From the smallest.
    pub(super) fn iter(&self) -> impl Iterator<Item = f64> {
        self.0.iter().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The middle one, or halfway between the two in the middle.
    pub(super) fn median(&self) -> Option<f64> {
        let low = self.0.get(self.0.len().checked_sub(1)? / 2)?;
        let high = self.0.get(self.0.len() / 2)?;
        Some(low.midpoint(*high))
    }

    /// The smallest that at least 95 of 100 do not exceed.
    pub(super) fn p95(&self) -> Option<f64> {
        self.percentile(95)
    }

    /// The smallest that at least 99 of 100 do not exceed.
    pub(super) fn p99(&self) -> Option<f64> {
        self.percentile(99)
    }

    fn percentile(&self, of_100: usize) -> Option<f64> {
        let at = (self.0.len() * of_100).div_ceil(100).checked_sub(1)?;
        self.0.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn order_does_not_matter() {
        let mut samples = Samples::default();
        assert_eq!((samples.median(), samples.p95()), (None, None));
        for value in [3.0, 1.0, 2.0] {
            samples.push(value);
        }
        assert_eq!((samples.median(), samples.p95()), (Some(2.0), Some(3.0)));
        samples.push(10.0);
        assert_eq!((samples.median(), samples.p95(), samples.len()), (Some(2.5), Some(10.0), 4));
    }

    #[test]
    fn one_in_twenty_may_be_worse() {
        let mut samples = Samples::default();
        for value in (1..=100).rev() {
            samples.push(f64::from(value));
        }
        assert_eq!((samples.median(), samples.p95(), samples.p99()), (Some(50.5), Some(95.0), Some(99.0)));
    }
}
