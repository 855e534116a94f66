//! Failure classes, the retry decision and the one table of public error codes.
//!
//! Modules have their own `thiserror` enums; at their edge these become a [`Failure`], whose class tells what happens
//! next and whose [`Code`] is what a person, an API client or an exit status sees.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Try again later; the peer may have said when.
    Transient {
        /// `Retry-After`, not yet clamped.
        retry_after: Option<Duration>,
    },
    /// The peer refuses our credentials, or we do not trust its: work waits for whoever corrects them and then goes on by itself.
    Credentials,
    /// Trying again would give the same answer.
    Permanent,
    /// The study cannot be processed as it is: a coded reason that a person can act on.
    Rejected,
    /// A person must decide before anything is sent.
    Held,
}

macro_rules! codes {
    ($($variant:ident, $name:literal, $status:literal, $meaning:literal, $action:literal;)+) => {
        /// Public error code: the same text in REST problems, run outcomes, audit events and the command line.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum Code { $($variant),+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code's text, kebab-case, stable across releases.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// HTTP status when it is the answer to a request of ours.
            pub fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// What happened, in words.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }

            /// What a person can do about it.
            pub fn action(self) -> &'static str {
                match self { $(Self::$variant => $action),+ }
            }
        }
    };
}

codes! {
    // Studies that cannot be processed as they are.
    NoLgeSeries, "no-lge-series", 422, "the study holds no late-enhancement short-axis series", "check that the LGE short-axis series was sent to the PACS";
    ContrastNotSupported, "contrast-not-supported", 422, "an LGE short-axis series exists, but not in a contrast the models accept", "send the PSIR reconstruction, or plug in a model for this contrast";
    TooFewSlices, "too-few-slices", 422, "the short-axis stack has too few slices to measure", "send the whole stack";
    MixedFrameOfReference, "mixed-frame-of-reference", 422, "slices of the stack have different frames of reference", "send slices acquired in one position";
    GeometryInvalid, "geometry-invalid", 422, "image positions or spacings are missing or contradict one another", "check ImagePositionPatient, ImageOrientationPatient and PixelSpacing";
    PixelDataInvalid, "pixel-data-invalid", 422, "pixel data does not match its description", "send the images again from the scanner";
    TransferSyntaxNotSupported, "transfer-syntax-not-supported", 422, "neither scargate nor the PACS can decode the images", "store the study in an uncompressed or JPEG lossless form";
    NotDicom, "not-dicom", 422, "what the PACS returned is not DICOM", "check the object in the PACS";
    StudyTooLarge, "study-too-large", 422, "the study is above a configured limit", "raise the limit in [limits] if the study is right";
    StudyNotFound, "study-not-found", 404, "the PACS does not hold the study", "check the StudyInstanceUID, or whether the study was deleted";
    PolarityUnproven, "polarity-unproven", 422, "cavity and scar are not brighter than remote myocardium: the polarity cannot be proven", "check the reconstruction and the inversion time";
    NoMyocardium, "no-myocardium", 422, "no left ventricular myocardium was found", "check that the series is a short-axis LGE stack";
    // Results that wait for a person.
    PatientNotFound, "patient-not-found", 409, "the EHR holds no matching patient", "register the patient or correct the identifier, then release";
    PatientAmbiguous, "patient-ambiguous", 409, "several patients match", "merge the patients in the EHR, then release";
    PatientReplaced, "patient-replaced", 409, "the matching patient is inactive or was replaced by another", "correct the identifier in the PACS, then release";
    PatientMismatch, "patient-mismatch", 409, "the matching patient's birth date differs", "correct the demographics, then release";
    PatientChanged, "patient-changed", 409, "patient or accession number in the PACS changed since the analysis", "reprocess the study";
    OrderMismatch, "order-mismatch", 409, "the order belongs to another patient or is ambiguous", "correct the accession number, then release";
    EhrChanged, "ehr-changed", 409, "a result was changed in the EHR by someone else", "decide which value stands, then release with --overwrite or discard";
    NeedsReview, "needs-review", 409, "a rule holds the result until a person reviews it", "review the result";
    DestinationHeld, "destination-held", 409, "the destination is switched to hold", "release, or switch the destination on";
    OutputsDisagree, "outputs-disagree", 500, "values in the encoded outputs differ", "report it: nothing was sent";
    // Peers.
    PacsUnavailable, "pacs-unavailable", 503, "the PACS cannot be reached or answers with an error", "check the PACS; work goes on by itself";
    PacsUnauthorized, "pacs-unauthorized", 502, "the PACS refuses our credentials or rights", "correct the [pacs] credentials and restart; what was refused with status 401 waits and goes on by itself";
    PacsUntrusted, "pacs-untrusted", 502, "the certificate of the PACS is not trusted", "set pacs.ca_file to the authority that issued it, or correct the certificate; work waits and goes on by itself";
    PacsRefused, "pacs-refused", 502, "the PACS refuses an object for good", "see the reason code in the delivery";
    PacsProtocol, "pacs-protocol", 502, "the PACS answered something that is not DICOMweb", "check the URL and the PACS version";
    EhrUnavailable, "ehr-unavailable", 503, "the EHR cannot be reached or answers with an error", "check the EHR; work goes on by itself";
    EhrUnauthorized, "ehr-unauthorized", 502, "the EHR refuses our credentials or scopes", "correct [ehr] client id, key and scopes and restart; what was refused with status 401 or by the token endpoint waits and goes on by itself";
    EhrUntrusted, "ehr-untrusted", 502, "the certificate of the EHR is not trusted", "set ehr.ca_file to the authority that issued it, or correct the certificate; work waits and goes on by itself";
    EhrRefused, "ehr-refused", 502, "the EHR refuses a resource for good", "see the OperationOutcome in the delivery";
    DatabaseUnavailable, "database-unavailable", 503, "the database cannot be reached", "check Postgres; work goes on by itself";
    BrokerUnavailable, "broker-unavailable", 503, "the message broker cannot be reached", "check RabbitMQ; work goes on by itself";
    // Ourselves.
    SpoolFull, "spool-full", 507, "the spool has no room", "free space under [spool] directory or raise its limit";
    ModelInvalid, "model-invalid", 500, "a model or its manifest is not usable", "run `scargate models check`";
    ProviderMissing, "provider-missing", 500, "the required execution provider is not in use", "install the GPU libraries or set infer.require to cpu";
    InferenceFailed, "inference-failed", 500, "a model failed to run", "run `scargate models check`";
    MessageUnreadable, "message-unreadable", 400, "a queue message has an unknown version or is not readable", "see the dead letters; upgrade all processes";
    LeaseLost, "lease-lost", 409, "another worker took the run over", "nothing: the other worker finishes it";
    StepTimeout, "step-timeout", 504, "a step took longer than its limit", "raise the limit in [limits] if the study is right";
    ConfigInvalid, "config-invalid", 500, "the configuration is not valid", "correct the keys that are named";
    Internal, "internal", 500, "an unexpected condition", "report it with the run id";
    LedgerDamaged, "ledger-damaged", 500, "the audit trail is not as it was sealed", "leave the database as it is and tell whoever answers for data protection";
    // Requests.
    BadRequest, "bad-request", 400, "the request is not well-formed", "correct the request";
    Unauthorized, "unauthorized", 401, "credentials are missing or not valid", "send a valid token";
    Forbidden, "forbidden", 403, "the credentials do not allow this", "ask for the scope that is named";
    NotFound, "not-found", 404, "there is no such thing", "check the identifier";
    Conflict, "conflict", 409, "the state does not allow this now", "look at the current state first";
    TooManyRequests, "too-many-requests", 429, "too many requests of this address were refused", "correct the credentials, wait a minute";
    IssuerUnavailable, "issuer-unavailable", 503, "the keys of the token issuer cannot be read", "check oidc.issuer and the network; requests work again by themselves";
    TooLarge, "too-large", 413, "the request body is too large", "send less";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Code {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|c| c.as_str() == text).ok_or_else(|| format!("unknown error code `{text}`"))
    }
}

/// A failure of a step, on its way to the place that decides.
#[derive(Debug)]
pub struct Failure {
    /// What to do about it.
    pub class: Class,
    /// Public code.
    pub code: Code,
    /// Further words for people, free of patient data, UIDs and URLs.
    pub detail: String,
    /// What caused it.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Failure {
    /// Worth trying again.
    pub fn transient(code: Code, detail: impl Into<String>) -> Self {
        Self { class: Class::Transient { retry_after: None }, code, detail: detail.into(), source: None }
    }

    /// Not worth trying again.
    pub fn permanent(code: Code, detail: impl Into<String>) -> Self {
        Self { class: Class::Permanent, code, detail: detail.into(), source: None }
    }

    /// The study cannot be processed as it is.
    pub fn rejected(code: Code, detail: impl Into<String>) -> Self {
        Self { class: Class::Rejected, code, detail: detail.into(), source: None }
    }

    /// Our credentials are refused.
    pub fn credentials(code: Code, detail: impl Into<String>) -> Self {
        Self { class: Class::Credentials, code, detail: detail.into(), source: None }
    }

    /// A person must decide.
    pub fn held(code: Code, detail: impl Into<String>) -> Self {
        Self { class: Class::Held, code, detail: detail.into(), source: None }
    }

    /// Adds what the peer said about when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Option<Duration>) -> Self {
        if let Class::Transient { retry_after } = &mut self.class {
            *retry_after = after;
        }
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// True when trying again may help.
    pub fn is_transient(&self) -> bool {
        matches!(self.class, Class::Transient { .. })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.code.meaning())?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

/// What is wrong with a peer's certificate, when that is what an error of a TLS client is about; without any name of a
/// host.
pub fn certificate_fault(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        let text = current.to_string();
        // rustls' words (rustls::Error::InvalidCertificate); a test on a real server holds them fast.
        if let Some((_, fault)) = text.split_once("invalid peer certificate") {
            return Some(match () {
                () if fault.contains("UnknownIssuer") => "its issuer is not trusted",
                () if fault.contains("expired") => "it has expired",
                () if fault.contains("not valid for") => "it is for another host name",
                () => "it is not valid",
            });
        }
        cause = current.source();
    }
    None
}

/// Exit status of the process for a failure (sysexits where one fits).
pub fn exit_status(failure: &Failure) -> u8 {
    match (failure.class, failure.code) {
        (_, Code::ConfigInvalid) => 78,
        (Class::Transient { .. }, _) => 75,
        (Class::Rejected, _) => 65,
        (Class::Held | Class::Credentials, _) => 77,
        (Class::Permanent, _) => 70,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_and_unambiguous() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} stands twice");
            assert!((400..600).contains(&code.http_status()), "{code}");
            assert!(!code.meaning().is_empty() && !code.action().is_empty(), "{code}");
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
            assert_eq!(code.as_str().parse::<Code>(), Ok(*code));
        }
    }
}
