//! What can go wrong between us and the PACS, and what it means for the work at hand.

use super::multipart;
use crate::failure::{Class, Code, Failure, certificate_fault};
use std::io;
use std::time::Duration;

/// A failed exchange with the PACS. No text of it holds a URL, a UID or patient data.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, TLS refused, or the connection broke.
    #[error("the connection to the PACS failed")]
    Connection(#[source] reqwest::Error),
    /// The certificate of the PACS is not accepted.
    #[error("{0}")]
    Untrusted(&'static str),
    /// Nothing came (or could be sent) for the configured time.
    #[error("the PACS was silent for {0:?}")]
    Idle(Duration),
    /// The whole transfer took longer than the step may.
    #[error("the transfer took longer than {0:?}")]
    Deadline(Duration),
    /// A status that is not a success.
    #[error("the PACS answered with status {status}")]
    Status {
        /// HTTP status.
        status: u16,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The thing asked for does not exist.
    #[error("the PACS does not hold what was asked for")]
    NotFound,
    /// The PACS answered with a part of what was asked for.
    #[error("the PACS sent only a part")]
    Partial,
    /// The answer is not what DICOMweb prescribes.
    #[error("the answer is not DICOMweb: {0}")]
    Protocol(&'static str),
    /// The multipart body is malformed or cut.
    #[error(transparent)]
    Multipart(#[from] multipart::Error),
    /// A limit of ours.
    #[error("above the limit: {0}")]
    TooLarge(&'static str),
    /// Neither we nor the PACS can decode the images.
    #[error("the PACS cannot decode the images")]
    NotTranscodable,
    /// The spool holds as much as it may, or the disk is full.
    #[error("the spool is full")]
    SpoolFull,
    /// The spool cannot be written.
    #[error("the spool cannot be written")]
    Spool(#[source] io::Error),
    /// The client cannot be built from its configuration.
    #[error("{0}")]
    Config(String),
    /// The PACS lists one study under two patients.
    #[error("the PACS lists the study under more than one patient or accession number")]
    TwoPatients,
}

impl Error {
    /// Wraps an error of the HTTP client, without its URL.
    pub(super) fn connection(error: reqwest::Error) -> Self {
        match certificate_fault(&error) {
            Some(fault) => Self::Untrusted(fault),
            None => Self::Connection(error.without_url()),
        }
    }

    /// Sorts a spool's I/O error.
    pub(super) fn spool(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::SpoolFull,
            _ => Self::Spool(error),
        }
    }

    /// Whether the same request may succeed a little later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Idle(_) | Self::Partial => true,
            Self::Multipart(error) => error.is_cut(),
            Self::Status { status, .. } => is_transient_status(*status),
            _ => false,
        }
    }

    /// What the peer said about when to come back.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Connection(_) | Self::Idle(_) | Self::Partial => Code::PacsUnavailable,
            Self::Untrusted(_) => Code::PacsUntrusted,
            Self::Deadline(_) => Code::StepTimeout,
            Self::Status { status: 401 | 403 | 407, .. } => Code::PacsUnauthorized,
            Self::Status { status: 413, .. } | Self::TooLarge(_) => Code::StudyTooLarge,
            Self::Status { status, .. } if is_transient_status(*status) => Code::PacsUnavailable,
            Self::Status { status: 300..=399, .. } => Code::PacsProtocol,
            Self::Status { .. } => Code::PacsRefused,
            Self::NotFound => Code::StudyNotFound,
            Self::Multipart(error) if error.is_cut() => Code::PacsUnavailable,
            Self::Multipart(error) if error.is_limit() => Code::StudyTooLarge,
            Self::Protocol(_) | Self::Multipart(_) => Code::PacsProtocol,
            Self::NotTranscodable => Code::TransferSyntaxNotSupported,
            Self::SpoolFull | Self::Spool(_) => Code::SpoolFull,
            Self::Config(_) => Code::ConfigInvalid,
            Self::TwoPatients => Code::PatientChanged,
        }
    }
}

/// 408, 425, 429 and 5xx but for 501 and 505: the request may work later as it is.
pub(super) fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429) || (status >= 500 && !matches!(status, 501 | 505))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let class = match &error {
            Error::NotFound | Error::TooLarge(_) | Error::NotTranscodable => Class::Rejected,
            Error::Status { status: 413, .. } => Class::Rejected,
            // 403 may be about this one study: credentials that work otherwise will not help.
            Error::Status { status: 401 | 407, .. } | Error::Untrusted(_) => Class::Credentials,
            Error::Multipart(inner) if inner.is_limit() => Class::Rejected,
            Error::TwoPatients => Class::Held,
            // A full disk empties when other studies are done; a slow transfer may be quicker next time.
            Error::SpoolFull | Error::Spool(_) | Error::Deadline(_) => Class::Transient { retry_after: None },
            _ if error.is_transient() => Class::Transient { retry_after: error.retry_after() },
            _ => Class::Permanent,
        };
        Self { class, code: error.code(), detail: error.to_string(), source: Some(Box::new(error)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16) -> Failure {
        Error::Status { status, retry_after: None }.into()
    }

    #[test]
    fn statuses_are_sorted_by_what_helps() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            let failure = failure(status);
            assert!(matches!(failure.class, Class::Transient { .. }), "{status}");
            assert_eq!(failure.code, Code::PacsUnavailable, "{status}");
        }
        for (status, class) in [(401, Class::Credentials), (403, Class::Permanent)] {
            assert_eq!((failure(status).class, failure(status).code), (class, Code::PacsUnauthorized));
        }
        for status in [400, 406, 409, 415, 501] {
            assert_eq!(
                (failure(status).class, failure(status).code),
                (Class::Permanent, Code::PacsRefused),
                "{status}"
            );
        }
        assert_eq!(failure(302).code, Code::PacsProtocol);
    }

    #[test]
    fn retry_after_travels_with_the_failure() {
        let wait = Some(Duration::from_secs(7));
        let failure: Failure = Error::Status { status: 503, retry_after: wait }.into();
        assert_eq!(failure.class, Class::Transient { retry_after: wait });
    }

    #[test]
    fn a_full_disk_has_its_own_code() {
        let failure: Failure = Error::spool(io::Error::from(io::ErrorKind::StorageFull)).into();
        assert_eq!(failure.code, Code::SpoolFull);
        assert!(matches!(failure.class, Class::Transient { .. }));
    }
}
