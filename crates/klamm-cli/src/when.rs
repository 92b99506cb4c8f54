//! Times and durations as people write them, in ISO 8601 as Kafka's tools and shorter. Dates are
//! of the Gregorian calendar in UTC; nothing here asks for the time.

use std::time::Duration;

use klamm_model::Timestamp;

const DAY_MS: i64 = 24 * 3_600_000;
/// The years that can be told: those of a four-digit date.
const YEARS: std::ops::RangeInclusive<i64> = 1970..=9999;

/// A duration: `P1DT2H30M`, or `90s`, `15m`, `2h`, `1d`, `250ms`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("'{text}' is no duration: give 90s, 15m, 2h, 1d or PT1H30M");
    let ms = match text.strip_prefix(['P', 'p']) {
        Some(rest) => iso_duration_ms(rest),
        None => short_duration_ms(text),
    };
    ms.map(Duration::from_millis).ok_or_else(refuse)
}

fn short_duration_ms(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY_MS as u64,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms)
}

/// What follows the P: days, then hours, minutes and seconds behind a T (Java: `Duration.parse`).
fn iso_duration_ms(text: &str) -> Option<u64> {
    let text = text.to_ascii_uppercase();
    let (date, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (&text[..], ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let (days, rest) = take_unit(date, 'D')?;
    if !rest.is_empty() {
        return None;
    }
    let (hours, rest) = take_unit(time, 'H')?;
    let (minutes, rest) = take_unit(rest, 'M')?;
    let seconds_ms = match rest.strip_suffix('S') {
        Some(seconds) => decimal_ms(seconds)?,
        None if rest.is_empty() => 0,
        None => return None,
    };
    let total = days.checked_mul(24)?.checked_add(hours)?.checked_mul(60)?.checked_add(minutes)?;
    total.checked_mul(60_000)?.checked_add(seconds_ms)
}

/// The number before a unit, or 0 without the unit, and what follows.
fn take_unit(text: &str, unit: char) -> Option<(u64, &str)> {
    match text.split_once(unit) {
        Some((number, rest)) => Some((whole(number)?, rest)),
        None => Some((0, text)),
    }
}

fn whole(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Seconds with a fraction, in whole milliseconds.
fn decimal_ms(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    whole(fraction)?;
    let digits = format!("{fraction:0<3}");
    whole(seconds)?.checked_mul(1000)?.checked_add(whole(&digits[..3])?)
}

/// A time: `2024-05-01T12:30:00.000`, with Z or +02:00, in UTC without; less of it is enough.
pub(crate) fn parse_datetime(text: &str) -> Result<Timestamp, String> {
    let refuse = || format!("'{text}' is no time: give 2024-05-01T12:30:00.000, in UTC or +02:00");
    datetime_ms(text.trim()).filter(|ms| *ms >= 0).map(Timestamp).ok_or_else(refuse)
}

fn datetime_ms(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers(date, '-')?;
    let (time, offset_minutes) = split_zone(time)?;
    let (clock, seconds_ms) = match time.match_indices(':').nth(1) {
        Some((at, _)) => (&time[..at], i64::try_from(decimal_ms(&time[at + 1..])?).ok()?),
        None => (time, 0),
    };
    let [hour, minute] = numbers(clock, ':')?;
    let is_valid = YEARS.contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && seconds_ms < 60_000;
    let minutes = hour * 60 + minute - offset_minutes;
    is_valid.then(|| days_since_1970(year, month, day) * DAY_MS + minutes * 60_000 + seconds_ms)
}

fn numbers<const N: usize>(text: &str, between: char) -> Option<[i64; N]> {
    let parsed: Option<Vec<i64>> =
        text.split(between).map(|part| i64::try_from(whole(part)?).ok()).collect();
    parsed?.try_into().ok()
}

/// The time of day, and how many minutes its zone is ahead of UTC.
fn split_zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (time, zone) = time.split_at(at);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let zone = &zone[1..];
    let [hours, minutes] = match (zone.contains(':'), zone.len()) {
        (true, _) => numbers(zone, ':')?,
        (false, 4) if zone.is_ascii() => [zone[..2].parse().ok()?, zone[2..].parse().ok()?],
        (false, 2) => [zone.parse().ok()?, 0],
        (false, _) => return None,
    };
    let is_valid = (0..=18).contains(&hours) && (0..60).contains(&minutes);
    is_valid.then_some((time, sign * (hours * 60 + minutes)))
}

fn is_leap_year(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap_year(year) => 29,
        2 => 28,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leap_days = |year: i64| year / 4 - year / 100 + year / 400;
    let of_years = (year - 1970) * 365 + leap_days(before) - leap_days(1969);
    let of_months: i64 = (1..month).map(|month| days_of_month(year, month)).sum();
    of_years + of_months + day - 1
}

/// A time for people: `2024-05-01T12:30:00.000Z`; a number where it is no date.
pub(crate) fn utc(at: Timestamp) -> String {
    let (mut days, ms) = (at.0.div_euclid(DAY_MS), at.0.rem_euclid(DAY_MS));
    let last = days_since_1970(*YEARS.end(), 12, 31);
    if !(0..=last).contains(&days) {
        return at.0.to_string();
    }
    // A year is never longer than this, so that at most a few steps are left.
    let mut year = 1970 + days / 366;
    while days >= days_since_1970(year + 1, 1, 1) {
        year += 1;
    }
    days -= days_since_1970(year, 1, 1);
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_or_iso() {
        for (text, ms) in [
            ("250ms", 250),
            ("90s", 90_000),
            ("15m", 900_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("P1D", 86_400_000),
            ("PT15M", 900_000),
            ("P1DT2H3M4.5S", 86_400_000 + 7_384_500),
            ("pt0s", 0),
            ("P0DT0H0M0S", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in
            ["", "5", "m", "-5m", "P", "PT", "P1H", "PT1D", "PT5", "PT-5M", "P1DT", "1y", "PT1.S"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("99999999999999999999d").is_err());
        assert!(parse_duration("P999999999999999999D").is_err());
    }

    #[test]
    fn times_are_in_utc_unless_they_say_otherwise() {
        for (text, ms) in [
            ("1970-01-01", 0),
            ("1970-01-01T00:00:01", 1000),
            ("2024-02-29T12:30:00.250", 1_709_209_800_250),
            ("2024-02-29 12:30", 1_709_209_800_000),
            ("2024-02-29T12:30:00Z", 1_709_209_800_000),
            ("2024-02-29T14:30:00+02:00", 1_709_209_800_000),
            ("2024-02-29T07:00:00-0530", 1_709_209_800_000),
            ("2000-12-31T23:59:59.999", 978_307_199_999),
        ] {
            assert_eq!(parse_datetime(text), Ok(Timestamp(ms)), "{text}");
        }
        for text in [
            "",
            "now",
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-01-32",
            "2024-01-01T24:00",
            "2024-01-01T12",
            "2024-01-01T12:60",
            "2024-01-01T12:00:60",
            "2024-01-01T12:00:00.x",
            "1969-12-31T23:59:59",
            "2024-01-01T12:00+99:00",
            "99999-01-01",
        ] {
            assert!(parse_datetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_that_is_printed_is_read_back() {
        for ms in [0, 951_782_400_000, 1_709_209_800_250, 4_102_444_799_999, 253_402_300_799_999] {
            assert_eq!(parse_datetime(&utc(Timestamp(ms))), Ok(Timestamp(ms)), "{ms}");
        }
        assert_eq!(utc(Timestamp(1_709_209_800_250)), "2024-02-29T12:30:00.250Z");
        assert_eq!(utc(Timestamp(-1)), "-1");
        assert_eq!(utc(Timestamp(i64::MAX)), i64::MAX.to_string());
    }
}
