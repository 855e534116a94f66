//! What an EHR's status means for a delivery: one table.

use crate::failure::{Class, Code, Failure};
use std::time::Duration;

/// Sorts a status that is not a success. `retry_after` as the peer sent it; `outcome` the codes of its OperationOutcome.
pub fn failure(status: u16, retry_after: Option<Duration>, outcome: &str) -> Failure {
    let (class, code) = match status {
        401 => (Class::Credentials, Code::EhrUnauthorized),
        403 => (Class::Permanent, Code::EhrUnauthorized),
        // The peer is busy, or another writer was quicker: the next attempt reads again what is there.
        408 | 409 | 425 | 429 => (Class::Transient { retry_after }, Code::EhrUnavailable),
        // A precondition of ours does not hold: somebody else changed or doubled a resource.
        412 => (Class::Held, Code::EhrChanged),
        501 | 505 => (Class::Permanent, Code::EhrRefused),
        500..=599 => (Class::Transient { retry_after }, Code::EhrUnavailable),
        _ => (Class::Permanent, Code::EhrRefused),
    };
    let detail = match outcome {
        "" => format!("status {status}"),
        words => format!("status {status}: {words}"),
    };
    Failure { class, code, detail, source: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_class() {
        let wait = Some(Duration::from_secs(9));
        let transient = Class::Transient { retry_after: wait };
        let table = [
            (400, Class::Permanent, Code::EhrRefused),
            (401, Class::Credentials, Code::EhrUnauthorized),
            (403, Class::Permanent, Code::EhrUnauthorized),
            (404, Class::Permanent, Code::EhrRefused),
            (405, Class::Permanent, Code::EhrRefused),
            (408, transient, Code::EhrUnavailable),
            (409, transient, Code::EhrUnavailable),
            (410, Class::Permanent, Code::EhrRefused),
            (412, Class::Held, Code::EhrChanged),
            (413, Class::Permanent, Code::EhrRefused),
            (422, Class::Permanent, Code::EhrRefused),
            (425, transient, Code::EhrUnavailable),
            (429, transient, Code::EhrUnavailable),
            (500, transient, Code::EhrUnavailable),
            (501, Class::Permanent, Code::EhrRefused),
            (502, transient, Code::EhrUnavailable),
            (503, transient, Code::EhrUnavailable),
            (504, transient, Code::EhrUnavailable),
            (302, Class::Permanent, Code::EhrRefused),
        ];
        for (status, class, code) in table {
            let failure = failure(status, wait, "");
            assert_eq!((failure.class, failure.code), (class, code), "{status}");
        }
    }

    #[test]
    fn no_client_error_but_the_four_is_ever_tried_again() {
        for status in 400..500 {
            let again = failure(status, None, "").is_transient();
            assert_eq!(again, matches!(status, 408 | 409 | 425 | 429), "{status}");
        }
    }
}
