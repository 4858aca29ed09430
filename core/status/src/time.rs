//! Wall-clock times as text: RFC 3339 as Go writes it, and the `Date` field of HTTP. Always UTC; no calendar crate.

use std::time::SystemTime;

/// kapo's word for "never": Go's zero time.
pub(crate) const GO_ZERO: &str = "0001-01-01T00:00:00Z";

const SECOND: u64 = 1_000_000_000;
const DAY_SECONDS: u64 = 86_400;

/// Now. **Units:** nanoseconds since 1970; 0 where the clock is set before that.
pub(crate) fn wall() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A moment as Go's `RFC3339Nano`: fraction without trailing zeros, none at all if it is zero.
pub fn rfc3339(nanos: u64) -> String {
    let date = Date::of(nanos / SECOND);
    let mut text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        date.year, date.month, date.day, date.hour, date.minute, date.second
    );
    text.push_str(&fraction(nanos));
    text.push('Z');
    text
}

/// A number of nanoseconds as decimal seconds, exactly.
pub(crate) fn seconds(nanos: u64) -> String {
    format!("{}{}", nanos / SECOND, fraction(nanos))
}

/// A moment as HTTP writes it (RFC 9110, 5.6.7).
pub(crate) fn http_date(nanos: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let date = Date::of(nanos / SECOND);
    let weekday = DAYS.iter().cycle().nth(date.weekday).copied().unwrap_or_default();
    let month = MONTHS.iter().zip(1..).find(|(_, number)| *number == date.month).map_or("", |(name, _)| *name);
    format!(
        "{weekday}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT",
        date.day, date.year, date.hour, date.minute, date.second
    )
}

fn fraction(nanos: u64) -> String {
    let digits = format!(".{:09}", nanos % SECOND);
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}

struct Date {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    weekday: usize,
}

impl Date {
    /// The civil date of a number of seconds since 1970. Years are counted from March, so that the leap day comes last, in eras of 400
    /// years, which all have the same number of days.
    fn of(seconds: u64) -> Date {
        let days = seconds / DAY_SECONDS;
        let second_of_day = seconds % DAY_SECONDS;
        let since_march_0000 = days + 719_468;
        let era = since_march_0000 / 146_097;
        let day_of_era = since_march_0000 % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Date {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            hour: second_of_day / 3_600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
            weekday: usize::try_from(days % 7).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY_SECONDS, Date, http_date, rfc3339, seconds};

    #[test]
    fn known_moments() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400_000_000_000), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_000_000_000_123_456_789), "2001-09-09T01:46:40.123456789Z");
        assert_eq!(rfc3339(4_107_542_399_100_000_000), "2100-02-28T23:59:59.1Z");
        assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33.709551615Z");
        assert_eq!(http_date(784_111_777_000_000_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(seconds(1_500_000_000), "1.5");
        assert_eq!(seconds(7), "0.000000007");
        assert_eq!(seconds(0), "0");
    }

    /// Every day of six centuries follows the one before it.
    #[test]
    fn days_follow_each_other() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for number in 0..213_503 {
            let date = Date::of(number * DAY_SECONDS + DAY_SECONDS - 1);
            assert_eq!((date.year, date.month, date.day), (year, month, day));
            assert_eq!((date.hour, date.minute, date.second), (23, 59, 59));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == last => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }
}
