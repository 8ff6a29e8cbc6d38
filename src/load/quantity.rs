//! Quantities as people write them in scenario files: `1m40s`, `20/s`, `5%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A span of time such as `200ms`, `1m40s` or `0s`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Time(pub Duration);

/// So many a second, such as `20/s` or `90/min`.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Rate(pub f64);

/// A share between 0 and 1, written `20%`.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Share(pub f64);

/// The units of time with their length in microseconds; `m` is a minute, as everywhere.
const UNITS: [(&str, f64); 5] = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6), ("h", 3600e6)];

/// The longest time that can be asked for: a week.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a time; write it like \"200ms\", \"30s\" or \"1m40s\"");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut micros = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let (number, behind) = rest.split_at(digits);
            let letters = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
            let (unit, behind) = behind.split_at(letters);
            let number: f64 = number.parse().map_err(|_| wrong())?;
            let length = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
            micros += number * length;
            rest = behind;
        }
        let time = Duration::try_from_secs_f64(micros / 1e6).map_err(|_| wrong())?;
        if time > LONGEST {
            return Err(format!("{text:?} is longer than a week"));
        }
        Ok(Self(time))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        match micros {
            0 => f.write_str("0s"),
            _ if !micros.is_multiple_of(1000) => write!(f, "{micros}us"),
            _ if !micros.is_multiple_of(1_000_000) => write!(f, "{}ms", micros / 1000),
            _ => {
                let seconds = micros / 1_000_000;
                let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
                parts.iter().filter(|(n, _)| *n > 0).try_for_each(|(n, unit)| write!(f, "{n}{unit}"))
            }
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a rate; write it like \"20/s\" or \"90/min\"");
        let (number, unit) = text.trim().split_once('/').ok_or_else(wrong)?;
        let per = match unit.trim() {
            "s" => 1.0,
            "min" | "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        if !(0.0..=1e6).contains(&number) {
            return Err(format!("{text:?}: a rate is between 0 and a million"));
        }
        Ok(Self(number / per))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok());
        match number {
            Some(percent) if (0.0..=100.0).contains(&percent) => Ok(Self(percent / 100.0)),
            _ => Err(format!("{text:?} is not a share; write it like \"20%\"")),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0 * 100.0)
    }
}

/// What `serde` needs to read and write a quantity as its text.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(quantity: $name) -> Self {
                quantity.to_string()
            }
        }
    )*};
}

as_text!(Time, Rate, Share);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_read_as_people_write_them() {
        let time = |text: &str| text.parse::<Time>().map(|t| t.0.as_micros());
        assert_eq!(time("1m40s"), Ok(100_000_000));
        assert_eq!(time("200ms"), Ok(200_000));
        assert_eq!(time("0s"), Ok(0));
        assert_eq!(time("1.5h"), Ok(5_400_000_000));
        for wrong in ["", "5", "s", "5x", "1..2s", "-1s", "5 s", "9999999h"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert_eq!("90/min".parse::<Rate>(), Ok(Rate(1.5)));
        assert!("20".parse::<Rate>().is_err() && "-1/s".parse::<Rate>().is_err() && "nan/s".parse::<Rate>().is_err());
        assert_eq!("20%".parse::<Share>(), Ok(Share(0.2)));
        assert!("120%".parse::<Share>().is_err());
    }

    proptest! {
        #[test]
        fn a_written_time_is_read_as_the_same(micros in 0_u64..600_000_000_000) {
            let time = Time(Duration::from_micros(micros));
            prop_assert_eq!(time.to_string().parse::<Time>(), Ok(time));
        }

        #[test]
        fn no_text_makes_the_readers_fall_over(text in ".{0,20}") {
            let _ = (text.parse::<Time>(), text.parse::<Rate>(), text.parse::<Share>());
        }
    }
}
