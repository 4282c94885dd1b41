//! Parsers of the values of options. The errors complete the messages of the parser of the command line.

use std::time::Duration;

use dynamo_lock::{FencingToken, LockName};
use dynamo_lock_protocol::{HOLD_MAX, HOLDERS_MAX, SUCCESS_MAX, SUCCESS_MIN};
use nix::sys::signal::Signal;

/// Parses a duration: seconds with or without a fraction, as in flock(1), or units such as `1m30s`.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let parsed = if plain {
        text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    } else {
        humantime::parse_duration(text).ok()
    };
    parsed.ok_or("expected seconds such as 90 or 0.5, or units such as 1m30s or 250ms")
}

/// Parses a signal by name or number, and the time left at which it is sent.
pub fn warn_signal(text: &str) -> Result<(Signal, Option<Duration>), &'static str> {
    let (signal, left) = text.split_once('@').map_or((text, None), |(signal, left)| (signal, Some(left)));
    let name = signal.to_ascii_uppercase();
    let by_name = || format!("SIG{}", name.strip_prefix("SIG").unwrap_or(&name)).parse();
    let signal = signal.parse::<i32>().map_or_else(|_| by_name(), Signal::try_from);
    match signal {
        Err(_) => Err("expected a signal such as USR1 or 10, and a time such as USR1@8s"),
        Ok(Signal::SIGKILL | Signal::SIGSTOP) => Err("a command cannot handle this signal; use another, such as USR1"),
        Ok(signal) => Ok((signal, left.map(duration).transpose()?)),
    }
}

/// Parses the duration of a hold.
pub fn hold(text: &str) -> Result<Duration, &'static str> {
    let length = duration(text)?;
    let is_in_range = (Duration::from_secs(1)..=HOLD_MAX).contains(&length);
    is_in_range.then_some(length).ok_or("a hold is from 1 s to 30 days")
}

/// Parses the time for which a success counts.
pub fn success(text: &str) -> Result<Duration, &'static str> {
    let length = duration(text)?;
    let is_in_range = (SUCCESS_MIN..=SUCCESS_MAX).contains(&length);
    is_in_range.then_some(length).ok_or("a success counts for 1 s to 3650 days")
}

/// Parses the time for which a lock is kept.
pub fn at_least(text: &str) -> Result<Duration, &'static str> {
    let length = duration(text)?;
    (length <= HOLD_MAX).then_some(length).ok_or("a lock is kept for at most 30 days")
}

/// Parses the time between two listings of a store.
pub fn interval(text: &str) -> Result<Duration, &'static str> {
    let length = duration(text)?;
    let is_in_range = (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&length);
    is_in_range.then_some(length).ok_or("an interval is from 1 s to 1 h")
}

/// Parses an average number, or a price: zero or more.
pub fn count(text: &str) -> Result<f64, &'static str> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=1e12).contains(number));
    number.ok_or("expected a number from 0 to 1000000000000, such as 10 or 0.5")
}

/// Parses an exit code.
pub fn code(text: &str) -> Result<u8, &'static str> {
    text.parse().map_err(|_| "an exit code is from 0 to 255")
}

/// Parses a fencing token.
pub fn token(text: &str) -> Result<FencingToken, &'static str> {
    let token = text.parse().ok().filter(|token| *token <= FencingToken::MAX.get()).map(FencingToken::new);
    token.ok_or("a token is a whole number below 2^53; run `dynamo-lock show NAME` to find it")
}

/// Parses capacity in read and write units.
pub fn units(text: &str) -> Result<(u32, u32), &'static str> {
    let unit = |text: &str| text.trim().parse().ok().filter(|units| *units > 0);
    let both = text.split_once(',').and_then(|(read, write)| Some((unit(read)?, unit(write)?)));
    both.ok_or("expected read and write units such as 1,1")
}

/// Parses a tag. AWS has further rules about its characters, and reports them.
pub fn tag(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected a tag such as team=payments")?;
    match () {
        () if !(1..=128).contains(&key.chars().count()) => Err("the key of a tag has 1 to 128 characters"),
        () if value.chars().count() > 256 => Err("the value of a tag has at most 256 characters"),
        () if text.contains(char::is_control) => Err("a tag has no control characters"),
        () if key.to_ascii_lowercase().starts_with("aws:") => Err("keys that begin with aws: are reserved by AWS"),
        () => Ok((key.to_owned(), value.to_owned())),
    }
}

/// Parses the beginning of the names of locks.
pub fn prefix(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the prefix is empty and would permit all locks; leave --prefix out for that".to_owned());
    }
    LockName::new(text).map(|name| name.as_str().to_owned()).map_err(|error| error.to_string())
}

/// Parses the ID of an AWS account.
pub fn account(text: &str) -> Result<String, &'static str> {
    let is_valid = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_valid.then(|| text.to_owned()).ok_or("an AWS account has 12 digits")
}

/// Parses a number of slots.
pub fn slots(text: &str) -> Result<u64, &'static str> {
    let slots = text.parse().ok().filter(|slots| (1..=HOLDERS_MAX).contains(slots));
    slots.ok_or("a lock has 1 to 64 slots")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_units() {
        let ms = |text: &str| duration(text).map(|duration| duration.as_millis()).ok();
        assert_eq!(ms("90"), Some(90_000));
        assert_eq!(ms("0.25"), Some(250));
        assert_eq!(ms("0"), Some(0));
        assert_eq!(ms("1m30s"), Some(90_000));
        assert_eq!(ms("250ms"), Some(250));
        for wrong in ["", "-1", "1.2.3", ".", "inf", "nan", "1e3", "five", "10 parsecs", "99999999999999999999999"] {
            assert_eq!(ms(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn malformed_tags_are_rejected() {
        assert_eq!(tag("url=https://a/?b=c"), Ok(("url".to_owned(), "https://a/?b=c".to_owned())));
        assert_eq!(tag("team="), Ok(("team".to_owned(), String::new())));
        let (long_key, long_value) = (format!("{}=", "k".repeat(129)), format!("k={}", "v".repeat(257)));
        for wrong in ["", "team", "=v", "AWS:a=b", "a=b\n", &long_key, &long_value] {
            assert!(tag(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn account_is_twelve_digits() {
        assert_eq!(account("012345678901"), Ok("012345678901".to_owned()));
        for wrong in ["", "12345678901", "1234567890123", "12345678901a", "٠١٢٣٤٥"] {
            assert!(account(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn warn_signal_is_a_name_or_number_with_optional_time() {
        let usr1 = |left: Option<u64>| Ok((Signal::SIGUSR1, left.map(Duration::from_millis)));
        for text in ["USR1", "SIGUSR1", "usr1", &(Signal::SIGUSR1 as i32).to_string()] {
            assert_eq!(warn_signal(text), usr1(None), "{text}");
        }
        assert_eq!(warn_signal("USR1@8"), usr1(Some(8_000)));
        assert_eq!(warn_signal("sigusr1@250ms"), usr1(Some(250)));
        for wrong in ["", "@8", "SIG", "NONE", "0", "-1", "999", "USR1@", "USR1@x", "USR1@8@9", "KILL", "9", "STOP"] {
            assert!(warn_signal(wrong).is_err(), "{wrong:?}");
        }
    }
}
