//! Moments as headers and listings have them.

use std::time::{SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

struct Parts {
    weekday: usize,
    year: u64,
    month: usize,
    day: u64,
    time: String,
}

/// `Sun, 22 Nov 2026 04:28:47 GMT`.
pub fn http_date(moment: SystemTime) -> String {
    let parts = parts(moment);
    let Parts {
        weekday,
        year,
        month,
        day,
        time,
    } = parts;
    let (weekday, month) = (DAYS[weekday], MONTHS[month - 1]);
    format!("{weekday}, {day:02} {month} {year} {time} GMT")
}

/// `2026-11-22T04:28:47.000Z`.
pub fn iso_date(moment: SystemTime) -> String {
    let Parts {
        year,
        month,
        day,
        time,
        ..
    } = parts(moment);
    format!("{year}-{month:02}-{day:02}T{time}.000Z")
}

fn parts(moment: SystemTime) -> Parts {
    let seconds = moment
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let days = seconds / 86_400;
    let (mut year, mut left) = (1970, days);
    while left >= days_of(year) {
        left -= days_of(year);
        year += 1;
    }
    let february = days_of(year) - 337;
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    Parts {
        weekday: (days % 7) as usize,
        year,
        month: month + 1,
        day: left + 1,
        time: format!("{hour:02}:{minute:02}:{second:02}"),
    }
}

fn days_of(year: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if is_leap { 366 } else { 365 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(
            http_date(at(1_795_321_727)),
            "Sun, 22 Nov 2026 04:28:47 GMT"
        );
        assert_eq!(iso_date(at(951_782_400)), "2000-02-29T00:00:00.000Z");
        assert_eq!(http_date(at(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
