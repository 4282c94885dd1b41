//! [`Number`]: a number as DynamoDB stores it.

use std::cmp::Ordering;
use std::fmt;

/// Number in a row, kept as decimal text, because rows of other clients may contain fractions and more digits than fit
/// into a `u64`.
///
/// `==` and `<` compare the texts, so that `1` and `1.0` differ. [`compare`](Number::compare) compares the values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(String);

impl Number {
    /// Creates a number from decimal text. Returns `None` if the text is not a finite number.
    pub fn parse(text: &str) -> Option<Self> {
        let finite = text.parse::<f64>().is_ok_and(f64::is_finite);
        let digits = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        (finite && digits).then(|| Self(text.to_owned()))
    }

    /// Returns the decimal text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the value if it is a whole number from 0 to 2^64 − 1.
    pub fn whole(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// Returns the value that JavaScript's `parseInt` returns for the text, because npm dynamo-lock reads numbers with
    /// it: an optional sign and the leading digits. Returns `None` for not-a-number. Saturates at the limits of `i64`.
    pub fn parse_int(&self) -> Option<i64> {
        let digits = self.0.trim_start_matches(['+', '-']);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let value = digits[..end].parse::<i64>().unwrap_or(i64::MAX);
        (end > 0).then_some(if self.0.starts_with('-') { -value } else { value })
    }

    /// Returns the number plus one; the digits after the point are kept. Requires a number from 0 without an exponent.
    pub(crate) fn plus_one(&self) -> Self {
        let (whole, rest) = self.0.split_at(self.0.find('.').unwrap_or(self.0.len()));
        Self(format!("{}{rest}", whole.parse::<u128>().unwrap_or(0).saturating_add(1)))
    }

    /// Compares the number with a whole number. The result is exact, except that a number in exponent notation is
    /// compared as a float.
    pub fn compare(&self, other: u64) -> Ordering {
        let (whole, fraction) = self.0.split_once('.').unwrap_or((&self.0, ""));
        match (whole.parse::<i128>(), fraction.bytes().all(|b| b.is_ascii_digit())) {
            (Ok(whole), true) => {
                let sign = if self.0.starts_with('-') { -1 } else { 1 };
                let rest = if fraction.bytes().any(|b| b != b'0') { sign } else { 0 };
                (whole, rest).cmp(&(i128::from(other), 0))
            }
            _ => {
                let value = self.0.parse::<f64>().unwrap_or(f64::NAN);
                value.partial_cmp(&(other as f64)).unwrap_or(Ordering::Less)
            }
        }
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self(value.to_string())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
