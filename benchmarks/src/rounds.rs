//! Interleaved rounds and the ratios between their contenders.
//!
//! Whatever else the machine does hits neighbouring turns alike, so a ratio is taken within one
//! round, and the median over the rounds is what is reported. Costs of different rounds are never
//! compared.

use std::fmt;
use std::time::Duration;

use crate::cost::Cost;

/// The costs of each contender's turn, round by round.
#[derive(Debug)]
pub struct Rounds<C> {
    contenders: Vec<C>,
    costs: Vec<Vec<Cost>>,
}

/// Which of the costs is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// The time on the clock.
    Elapsed,
    /// The processor time, where it is known.
    Processor,
    /// The processor time of this process alone.
    Client,
}

/// A ratio over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Half of the rounds are below.
    pub median: f64,
    /// A quarter of the rounds is below.
    pub low: f64,
    /// A quarter of the rounds is above.
    pub high: f64,
}

impl<C: Copy + PartialEq + fmt::Debug> Rounds<C> {
    /// No rounds yet.
    pub fn new(contenders: &[C]) -> Self {
        Self {
            contenders: contenders.to_vec(),
            costs: vec![Vec::new(); contenders.len()],
        }
    }

    /// The contenders in the order of their turns: each round begins with another one.
    pub fn turns(&self, round: usize) -> Vec<C> {
        let mut turns = self.contenders.clone();
        turns.rotate_left(round % self.contenders.len());
        turns
    }

    /// Notes what a contender's turn cost.
    pub fn record(&mut self, contender: C, cost: Cost) {
        let index = self.index(contender);
        self.costs[index].push(cost);
    }

    /// The cost of `dear` in multiples of `cheap`, within each round; `None` if the measure is not
    /// known.
    pub fn ratio(&self, measure: Measure, dear: C, cheap: C) -> Option<Ratio> {
        let pairs = self.costs[self.index(dear)]
            .iter()
            .zip(&self.costs[self.index(cheap)]);
        let ratio = |(dear, cheap)| {
            Some(measure.of(dear)?.as_secs_f64() / measure.of(cheap)?.as_secs_f64())
        };
        let mut ratios = pairs.map(ratio).collect::<Option<Vec<f64>>>()?;
        ratios.sort_by(f64::total_cmp);
        Some(Ratio {
            median: quantile(&ratios, 0.5),
            low: quantile(&ratios, 0.25),
            high: quantile(&ratios, 0.75),
        })
    }

    /// The median cost of a contender: orientation only, ratios are what is compared.
    pub fn median(&self, measure: Measure, contender: C) -> Option<Duration> {
        let costs = self.costs[self.index(contender)]
            .iter()
            .map(|cost| measure.of(cost));
        let mut seconds = costs
            .map(|cost| Some(cost?.as_secs_f64()))
            .collect::<Option<Vec<f64>>>()?;
        seconds.sort_by(f64::total_cmp);
        Some(Duration::from_secs_f64(quantile(&seconds, 0.5)))
    }

    fn index(&self, contender: C) -> usize {
        self.contenders
            .iter()
            .position(|other| *other == contender)
            .expect("only contenders are measured")
    }
}

impl Measure {
    fn of(self, cost: &Cost) -> Option<Duration> {
        match self {
            Self::Elapsed => Some(cost.elapsed),
            Self::Processor => cost.processor,
            Self::Client => cost.client,
        }
    }
}

/// `0.97 (0.95–1.01)`: the median and the middle half.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.low, self.high)
    }
}

/// A cell of a table: a dash for an unknown value.
pub fn cell<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

/// The quantile of the values, which are in ascending order.
///
/// # Panics
/// Without any value.
pub fn quantile(sorted: &[f64], at: f64) -> f64 {
    assert!(!sorted.is_empty(), "at least one round is measured");
    let rank = at * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    below + (above - below) * rank.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(millis: u64) -> Cost {
        Cost {
            elapsed: Duration::from_millis(millis),
            processor: None,
            client: None,
        }
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        let mut rounds = Rounds::new(&["a", "b"]);
        for (a, b) in [(10, 20), (100, 200), (1000, 2000)] {
            rounds.record("a", cost(a));
            rounds.record("b", cost(b));
        }
        let ratio = rounds.ratio(Measure::Elapsed, "b", "a");
        assert_eq!(
            ratio,
            Some(Ratio {
                low: 2.0,
                median: 2.0,
                high: 2.0
            })
        );
    }

    #[test]
    fn a_measure_that_is_not_known_gives_no_ratio() {
        let mut rounds = Rounds::new(&["a", "b"]);
        rounds.record("a", cost(1));
        rounds.record("b", cost(1));
        assert_eq!(rounds.ratio(Measure::Processor, "b", "a"), None);
    }

    #[test]
    fn every_contender_begins_a_round() {
        let rounds = Rounds::new(&["a", "b", "c"]);
        let first: Vec<_> = (0..3).map(|round| rounds.turns(round)[0]).collect();
        assert_eq!(first, ["a", "b", "c"]);
    }
}
