//! The message about a course that ended otherwise.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;

use super::course::Outcome;
use super::seeds::SEED;

/// A course that ended otherwise than the first.
#[derive(Debug)]
pub(super) struct Difference<T> {
    pub(super) asked_at: &'static Location<'static>,
    pub(super) seed: u64,
    pub(super) plain: Outcome<T>,
    pub(super) other: Outcome<T>,
    /// True if it is there with crashes and repetitions alone.
    pub(super) needs_no_order: bool,
    /// True if it is there with other orders alone.
    pub(super) needs_no_crash: bool,
}

impl<T: fmt::Debug> fmt::Display for Difference<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            asked_at,
            seed,
            plain,
            other,
            ..
        } = self;
        writeln!(
            f,
            "the simulation at {asked_at} ends otherwise with seed {seed}"
        )?;
        writeln!(f, "  in order, the state is {:?}", plain.state)?;
        writeln!(f, "  with seed {seed} it is {:?}", other.state)?;
        differ(f, "failures", &plain.failures, &other.failures)?;
        differ(f, "raised events", &plain.raised, &other.raised)?;
        writeln!(f, "{}", self.cause())?;
        writeln!(f, "run it again with {SEED}={seed}; this is its course:")?;
        for (number, step) in (1..).zip(&other.steps) {
            writeln!(f, "{number:>4}. {step}")?;
        }
        Ok(())
    }
}

impl<T> Difference<T> {
    fn cause(&self) -> &'static str {
        match (self.needs_no_order, self.needs_no_crash) {
            (true, false) => {
                "crashes and repetitions alone make the difference: an effect is outside of its \
                 transaction, or done again for a key; `handling(…).once(…)` shows which"
            }
            (false, true) => {
                "other orders alone make the difference: a handler depends on the order between \
                 aggregates, which nothing keeps; `in_order` is for those that may"
            }
            (true, true) => {
                "crashes and repetitions make a difference, and so do other orders between \
                 aggregates: mend the first by `handling(…).once(…)`, and run it again"
            }
            (false, false) => {
                "neither crashes and repetitions alone nor other orders alone make the difference \
                 in the courses that were tried: follow this one"
            }
        }
    }
}

/// Two counts, if they are not the same.
fn differ(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    plain: &BTreeMap<String, u64>,
    other: &BTreeMap<String, u64>,
) -> fmt::Result {
    if plain == other {
        return Ok(());
    }
    writeln!(f, "  in order, the {name} are {}", listed(plain))?;
    writeln!(f, "  with the seed they are {}", listed(other))
}

fn listed(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let each: Vec<_> = counts
        .iter()
        .map(|(name, count)| format!("{count} × {name}"))
        .collect();
    each.join(", ")
}
