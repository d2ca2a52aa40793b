//! The seeds of a simulation, which the environment may choose.

use std::env;
use std::ops::RangeInclusive;

/// The variable with the one seed to run.
pub(super) const SEED: &str = "BENTO_TEST_SEED";

/// The variable with the number of seeds.
const SEEDS: &str = "BENTO_TEST_SEEDS";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seeds(RangeInclusive<u64>);

impl Seeds {
    /// The seeds 1, 2, 3 and so on.
    pub(super) fn first(number: u64) -> Self {
        Self(1..=number)
    }

    pub(super) fn one(seed: u64) -> Self {
        Self(seed..=seed)
    }

    /// These seeds, unless the environment chooses others.
    pub(super) fn or_of_environment(&self) -> Result<Self, String> {
        self.or_of(|name| env::var(name).ok())
    }

    fn or_of(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str| {
            let text = variable(name).filter(|text| !text.is_empty());
            let number = text.map(|text| {
                let number = text.trim().parse::<u64>();
                number
                    .map_err(|_| format!("invalid {name} `{text}`: write a number, as in {name}=7"))
            });
            number.transpose()
        };
        if let Some(seed) = number(SEED)? {
            return Ok(Self::one(seed));
        }
        let first = number(SEEDS)?.map(Self::first);
        Ok(first.unwrap_or_else(|| self.clone()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.clone()
    }

    /// The number of seeds.
    pub(super) fn len(&self) -> u64 {
        self.iter().map(|_| 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Seeds, String> {
        Seeds::first(3).or_of(|name| {
            let mut set = set.iter();
            let found = set.find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn the_environment_chooses_a_seed_or_their_number() {
        assert_eq!(read(&[]), Ok(Seeds::first(3)));
        assert_eq!(read(&[(SEED, "")]), Ok(Seeds::first(3)));
        assert_eq!(read(&[(SEEDS, "100")]), Ok(Seeds::first(100)));
        assert_eq!(read(&[(SEEDS, "100"), (SEED, "7")]), Ok(Seeds::one(7)));
        assert_eq!(Seeds::one(7).len(), 1);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let message = "invalid BENTO_TEST_SEED `x`: write a number, as in BENTO_TEST_SEED=7";
        assert_eq!(read(&[(SEED, "x")]), Err(message.to_owned()));
    }
}
