//! The numbers, booleans, dates and times of TOML 1.1. Pure.

/// Returns true if a text is a boolean, a number, a date or a time.
pub(crate) fn is_scalar(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(text, "true" | "false")
        || matches!(unsigned, "inf" | "nan")
        || is_integer(text)
        || is_float(text, unsigned)
        || is_date(text)
        || is_time(text)
        || is_date_time(text)
}

fn is_integer(text: &str) -> bool {
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let is_digit = |c: char| c.is_digit(radix);
            return is_grouped(digits, is_digit) && i64::from_str_radix(&digits.replace('_', ""), radix).is_ok();
        }
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    is_decimal(digits) && text.replace('_', "").parse::<i64>().is_ok()
}

fn is_float(text: &str, unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let is_digits = |text: &str| is_grouped(text, |c| c.is_ascii_digit());
    (fraction.is_some() || exponent.is_some())
        && is_decimal(whole)
        && fraction.is_none_or(is_digits)
        && exponent.is_none_or(|exponent| is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
        && text.replace('_', "").parse::<f64>().is_ok_and(f64::is_finite)
}

/// Returns true if a text is a number without a superfluous zero in front.
fn is_decimal(text: &str) -> bool {
    is_grouped(text, |c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

/// Returns true if a text is one or more digits, with underscores only between two of them.
fn is_grouped(text: &str, is_digit: impl Fn(char) -> bool) -> bool {
    text.split('_').all(|group| !group.is_empty() && group.chars().all(&is_digit))
}

pub(crate) fn is_date(text: &str) -> bool {
    let [Some(year), Some(month), Some(day)] = numbers(text, '-', [4, 2, 2]) else { return false };
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 31,
    };
    text.len() == 10 && (1..=12).contains(&month) && (1..=days).contains(&day)
}

/// Returns true if a text is a time of day; the seconds may be missing.
fn is_time(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').map_or((text, None), |(clock, fraction)| (clock, Some(fraction)));
    let [Some(hour), Some(minute), second] = numbers(clock, ':', [2, 2, 2]) else { return false };
    let has_end = match second {
        Some(second) => clock.len() == 8 && second <= 60,
        None => clock.len() == 5 && fraction.is_none(),
    };
    let is_fraction = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    has_end && hour < 24 && minute < 60 && fraction.is_none_or(is_fraction)
}

fn is_date_time(text: &str) -> bool {
    let (Some(date), Some(rest)) = (text.get(..10), text.get(10..)) else { return false };
    let Some(rest) = rest.strip_prefix(['T', 't', ' ']) else { return false };
    let time = match rest.strip_suffix(['Z', 'z']) {
        Some(time) => time,
        None => match rest.rfind(['+', '-']) {
            Some(at) if rest.len() == at + 6 && is_time(&rest[at + 1..]) => &rest[..at],
            Some(_) => return false,
            None => rest,
        },
    };
    is_date(date) && is_time(time)
}

/// Returns the numbers of a text, each with this many digits; `None` for one that is missing or has other characters.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> [Option<u32>; 3] {
    let mut parts = text.splitn(3, separator);
    digits.map(|digits| {
        let part = parts.next()?;
        (part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok())?
    })
}
