//! DICOM dates and times as FHIR dateTime: with a time-zone offset, or as a date alone.

use crate::domain::identity::StudyIdentity;
use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// When the study was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// FHIR dateTime.
    pub text: String,
    /// The offset was not stated by the images.
    pub assumed_offset: bool,
}

/// StudyDate and StudyTime in the offset that the images state, else in `assumed`. `None` without a valid date.
pub fn effective(identity: &StudyIdentity, assumed: UtcOffset) -> Option<Effective> {
    let date = date(&identity.study_date)?;
    let Some(time) = time(&identity.study_time) else {
        return Some(Effective { text: date_text(date), assumed_offset: false });
    };
    let stated = identity.timezone_offset.as_deref().and_then(offset);
    let text = instant(OffsetDateTime::new_in_offset(date, time, stated.unwrap_or(assumed)));
    Some(Effective { text, assumed_offset: stated.is_none() })
}

/// FHIR instant or dateTime, to the second, in the offset of the value.
pub fn instant(moment: OffsetDateTime) -> String {
    let (hours, minutes, _) = moment.offset().as_hms();
    let sign = if moment.offset().is_negative() { '-' } else { '+' };
    format!(
        "{}T{:02}:{:02}:{:02}{sign}{:02}:{:02}",
        date_text(moment.date()),
        moment.hour(),
        moment.minute(),
        moment.second(),
        hours.unsigned_abs(),
        minutes.unsigned_abs()
    )
}

/// An offset as FHIR writes it.
pub fn offset_text(offset: UtcOffset) -> String {
    let (hours, minutes, _) = offset.as_hms();
    let sign = if offset.is_negative() { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", hours.unsigned_abs(), minutes.unsigned_abs())
}

/// A DICOM date as FHIR date; `None` unless it is complete and valid.
pub fn date_only(text: &str) -> Option<String> {
    date(text).map(date_text)
}

fn date_text(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// DA: `YYYYMMDD`.
fn date(text: &str) -> Option<Date> {
    let text = text.trim();
    (text.len() == 8 && text.is_ascii()).then_some(())?;
    let month = Month::try_from(number::<u8>(text.get(4..6)?)?).ok()?;
    Date::from_calendar_date(i32::from(number::<u16>(text.get(..4)?)?), month, number(text.get(6..8)?)?).ok()
}

/// TM: `HH[MM[SS[.ffffff]]]`; fractions are dropped.
fn time(text: &str) -> Option<Time> {
    let text = text.trim();
    if !text.is_ascii() {
        return None;
    }
    let part = |range: std::ops::Range<usize>| match text.get(range) {
        Some(digits) => number::<u8>(digits),
        None => Some(0),
    };
    // A leap second (60) is legal in TM and not in FHIR.
    Time::from_hms(number(text.get(..2)?)?, part(2..4)?, part(4..6)?.min(59)).ok()
}

/// TimezoneOffsetFromUTC: `&ZZXX`.
fn offset(text: &str) -> Option<UtcOffset> {
    let text = text.trim();
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    (text.len() == 5).then_some(())?;
    let (hours, minutes) = (number::<i8>(text.get(1..3)?)?, number::<i8>(text.get(3..5)?)?);
    (hours <= 14 && minutes < 60).then_some(())?;
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

fn number<T: std::str::FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn dicom_offsets_and_times() {
        assert_eq!(offset("-0330").unwrap().as_hms(), (-3, -30, 0));
        assert_eq!(offset("+1400").unwrap().as_hms(), (14, 0, 0));
        for bad in ["", "0100", "+1500", "+01:0", "+0160", "+é1"] {
            assert_eq!(offset(bad), None, "{bad}");
        }
        assert_eq!(time("0907").unwrap(), Time::from_hms(9, 7, 0).unwrap());
        assert_eq!(time("235960.9").unwrap(), Time::from_hms(23, 59, 59).unwrap());
        assert_eq!(time("2460"), None);
        assert_eq!(date("20240230"), None);
        assert_eq!(date("2024011"), None);
    }
}
