//! Decimal numbers, compared by value and without rounding.
//!
//! Decision: docs/decisions/0021-rules-are-compared-as-written.md

use std::borrow::Cow;
use std::cmp::Ordering;

/// A limit beyond all meaningful exponents; the sum of two still fits.
const EXPONENT_MAX: i64 = i64::MAX / 4;

/// A decimal number of any size: `±0.d₁d₂d₃… × 10^magnitude`.
#[derive(Clone, Debug)]
pub(super) struct Number<'a> {
    negative: bool,
    magnitude: i64,
    /// The digits from the first to the last that is not 0, with the point if it is between them;
    /// empty for 0.
    digits: Cow<'a, str>,
}

impl<'a> Number<'a> {
    /// Reads a number in JSON's form, with or without an exponent.
    pub(super) fn json(text: &'a str) -> Option<Self> {
        let Some(at) = text.find(['e', 'E']) else {
            return Self::decimal(text);
        };
        let shift = exponent(&text[at + 1..])?;
        let mut number = Self::decimal(&text[..at])?;
        if !number.digits.is_empty() {
            number.magnitude += shift;
        }
        Some(number)
    }

    /// Reads a number in the form of decimal types: without an exponent and without superfluous
    /// leading zeros, so that `007` stays a text.
    pub(super) fn decimal(text: &'a str) -> Option<Self> {
        let (negative, unsigned) = text
            .strip_prefix('-')
            .map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = unsigned
            .split_once('.')
            .map_or((unsigned, None), |(w, f)| (w, Some(f)));
        let is_canonical = whole == "0" || !whole.starts_with('0');
        if !is_canonical || !are_digits(whole) || !fraction.is_none_or(are_digits) {
            return None;
        }
        let digits = unsigned
            .trim_start_matches(['0', '.'])
            .trim_end_matches(['0', '.']);
        let magnitude = match fraction {
            _ if digits.is_empty() => 0,
            Some(fraction) if whole == "0" => -(leading_zeros(fraction) as i64),
            _ => whole.len() as i64,
        };
        Some(Self {
            negative: negative && !digits.is_empty(),
            magnitude,
            digits: Cow::Borrowed(digits),
        })
    }

    /// The same number with its own copy of the digits.
    pub(super) fn into_owned(self) -> Number<'static> {
        let digits = self.digits().map(char::from).collect::<String>();
        Number {
            digits: Cow::Owned(digits),
            ..self
        }
    }

    /// The number of digits behind the point.
    pub(super) fn places(&self) -> i64 {
        self.digits().count() as i64 - self.magnitude
    }

    /// The number that is `10^-(places + 1)` further from 0 on its own side; for 0, on the given
    /// side. `None` if it would be too long to write.
    pub(super) fn outward(&self, places: i64, negative: bool) -> Option<Number<'static>> {
        if self.digits.is_empty() {
            return Some(Number {
                negative,
                magnitude: -places,
                digits: Cow::Borrowed("1"),
            });
        }
        let mut digits: String = self.digits().map(char::from).collect();
        let zeros = usize::try_from(self.magnitude.checked_add(places)?)
            .ok()?
            .checked_sub(digits.len())?;
        if zeros > 2000 {
            return None;
        }
        digits.extend(std::iter::repeat_n('0', zeros));
        digits.push('1');
        Some(Number {
            negative: self.negative,
            magnitude: self.magnitude,
            digits: Cow::Owned(digits),
        })
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.digits.bytes().filter(|byte| *byte != b'.')
    }

    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl Ord for Number<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_size = || {
            self.magnitude
                .cmp(&other.magnitude)
                .then_with(|| self.digits().cmp(other.digits()))
        };
        self.sign().cmp(&other.sign()).then_with(|| {
            if self.negative {
                by_size().reverse()
            } else {
                by_size()
            }
        })
    }
}

impl PartialOrd for Number<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number<'_> {}

fn are_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn leading_zeros(text: &str) -> usize {
    text.bytes().take_while(|byte| *byte == b'0').count()
}

fn exponent(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if !are_digits(unsigned) {
        return None;
    }
    let size = unsigned.parse().unwrap_or(EXPONENT_MAX).min(EXPONENT_MAX);
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number<'_> {
        Number::json(text).unwrap_or_else(|| panic!("`{text}` is a number"))
    }

    #[test]
    fn one_value_has_many_spellings() {
        for same in [
            &["10", "10.0", "10.000", "1e1", "1.0E+1", "100e-1", "0.1e2"][..],
            &["0", "-0", "0.00", "0e9", "-0.0"],
        ] {
            for (a, b) in same.iter().flat_map(|a| same.iter().map(move |b| (a, b))) {
                assert_eq!(number(a), number(b), "{a} and {b}");
            }
        }
    }

    #[test]
    fn they_stand_in_one_order_without_rounding() {
        let sorted = [
            "-1e400",
            "-340282366920938463463374607431768211456",
            "-10",
            "-9.99",
            "-0.05",
            "0",
            "1e-400",
            "0.05",
            "0.5",
            "0.51",
            "9",
            "9007199254740992",
            "9007199254740993",
            "340282366920938463463374607431768211455",
            "340282366920938463463374607431768211455.0000001",
            "1e9223372036854775807",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(number(a).cmp(&number(b)), i.cmp(&j), "{a} and {b}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_a_number_is_a_text() {
        for text in [
            "", "-", ".", "007", "1.", ".5", "+1", "1e5", "1_000", "0x10", "NaN", "١", "1.2.3",
            " 1", "00",
        ] {
            assert!(Number::decimal(text).is_none(), "{text}");
        }
        assert!(
            Number::json("1e").is_none()
                && Number::json("1e+").is_none()
                && Number::json("e1").is_none()
        );
    }

    proptest! {
        #[test]
        fn they_compare_as_integers_do(a in any::<i128>(), b in any::<i128>(), zeros in 0usize..4) {
            let (x, y) = (a.to_string(), format!("{b}.{}", "0".repeat(zeros + 1)));
            prop_assert_eq!(number(&x).cmp(&number(&y)), a.cmp(&b));
        }

        #[test]
        fn they_compare_as_decimals_do(a in any::<i64>(), b in any::<i64>(), places in 0u32..19) {
            let [x, y] = [a, b].map(|units| rust_decimal::Decimal::new(units, places));
            let (p, q) = (x.to_string(), y.to_string());
            let (p, q) = (Number::decimal(&p).unwrap(), Number::decimal(&q).unwrap());
            prop_assert_eq!(p.cmp(&q), x.cmp(&y));
        }

        #[test]
        fn a_step_outward_stays_before_the_next(a in -999i64..999, places in 0u32..3) {
            let text = rust_decimal::Decimal::new(a, places).to_string();
            let from = number(&text);
            let step = from.outward(i64::from(places), false).unwrap();
            let next = if a < 0 { a - 1 } else { a + 1 };
            let limit = rust_decimal::Decimal::new(next, places).to_string();
            prop_assert!(step != from);
            prop_assert_eq!(step.cmp(&from), number(&limit).cmp(&from));
            prop_assert_eq!(step.cmp(&number(&limit)), from.cmp(&number(&limit)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}") {
            let _ = (Number::json(&text), Number::decimal(&text));
        }
    }
}
