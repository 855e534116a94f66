//! The one transport policy of every request to the PACS: TLS, credentials, idle limits, redirects, retries, byte caps.

use super::error::{Error, is_transient_status};
use crate::config::{Pacs, PacsAuth, Secret};
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER, WARNING};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response, StatusCode};
use std::future::Future;
use std::time::{Duration, SystemTime};
use url::Url;

/// Redirects followed at most, all within the PACS' own origin.
const REDIRECTS_MAX: usize = 4;
/// First pause between tries of one request; doubles each time.
const BACKOFF: Duration = Duration::from_millis(250);
/// A `Retry-After` above this is not waited for within a request: the failure carries it to the queue.
const WAIT_MAX: Duration = Duration::from_secs(5);

enum Auth {
    None,
    Basic(String, Secret),
    Bearer(Secret),
}

/// Sends requests below one DICOMweb root.
pub(super) struct Transport {
    http: reqwest::Client,
    base: Url,
    auth: Auth,
    idle: Duration,
    retries: u32,
}

impl Transport {
    /// Reads the CA file and builds the HTTP client.
    pub(super) fn new(config: &Pacs) -> Result<Self, Error> {
        let origin = config.url.origin();
        let redirects = Policy::custom(move |attempt| {
            // Credentials and patient data stay with the PACS: another origin gets neither.
            if attempt.url().origin() == origin && attempt.previous().len() <= REDIRECTS_MAX {
                attempt.follow()
            } else {
                attempt.stop()
            }
        });
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("scargate/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(config.connect_timeout_secs))
            .redirect(redirects)
            .referer(false)
            // The configuration alone says where data goes, not the environment.
            .no_proxy();
        if !config.ca_file.as_os_str().is_empty() {
            builder = builder.tls_certs_only(certificates(&config.ca_file)?);
        }
        let http = builder.build().map_err(|error| Error::Config(format!("HTTP client: {}", error.without_url())))?;
        let auth = match config.auth {
            PacsAuth::None => Auth::None,
            PacsAuth::Basic => Auth::Basic(config.username.clone(), config.password.clone()),
            PacsAuth::Bearer => Auth::Bearer(config.token.clone()),
        };
        let idle = Duration::from_secs(config.idle_timeout_secs);
        Ok(Self { http, base: config.url.clone(), auth, idle, retries: config.request_retries })
    }

    /// Longest silence of the peer that is accepted.
    pub(super) fn idle(&self) -> Duration {
        self.idle
    }

    /// URL below the root.
    pub(super) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // An http(s) URL always has path segments.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// A GET request with credentials.
    pub(super) fn get(&self, url: Url, accept: &str) -> RequestBuilder {
        // A cached answer would hide that a patient was corrected or a study deleted.
        self.with_auth(self.http.get(url)).header(ACCEPT, accept).header("Cache-Control", "no-cache")
    }

    /// A POST request with credentials.
    pub(super) fn post(&self, url: Url, accept: &str) -> RequestBuilder {
        self.with_auth(self.http.post(url)).header(ACCEPT, accept)
    }

    fn with_auth(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.auth {
            Auth::None => request,
            Auth::Basic(user, password) => request.basic_auth(user, Some(password.expose())),
            Auth::Bearer(token) => request.bearer_auth(token.expose()),
        }
    }

    /// Sends a request without a body and waits for the head of a successful answer of at most `cap` body bytes.
    pub(super) async fn send(&self, request: RequestBuilder, cap: u64) -> Result<Body, Error> {
        let response = tokio::time::timeout(self.idle, request.send())
            .await
            .map_err(|_| Error::Idle(self.idle))?
            .map_err(Error::connection)?;
        check_status(&response)?;
        Ok(self.body(response, cap))
    }

    /// The body of an answer, whatever its status.
    pub(super) fn body(&self, response: Response, cap: u64) -> Body {
        Body { response, idle: self.idle, left: cap }
    }

    /// Runs an idempotent exchange, a second and third time when that may help.
    pub(super) async fn retry<T, F, Fut>(&self, exchange: F) -> Result<T, Error>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let mut attempt = 0;
        loop {
            let error = match exchange().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let wait = error.retry_after().unwrap_or(BACKOFF * 2u32.saturating_pow(attempt.min(8)));
            if !error.is_transient() || attempt >= self.retries || wait > WAIT_MAX {
                return Err(error);
            }
            tracing::debug!(attempt, %error, "a request to the PACS is sent again");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }
}

/// Status of an answer as success or error.
fn check_status(response: &Response) -> Result<(), Error> {
    match response.status() {
        StatusCode::PARTIAL_CONTENT => Err(Error::Partial),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Error::NotFound),
        status if status.is_success() => Ok(()),
        status => Err(status_error(status, response.headers())),
    }
}

/// Error of a status, with the peer's `Retry-After` when trying again makes sense.
pub(super) fn status_error(status: StatusCode, headers: &HeaderMap) -> Error {
    let retry_after = is_transient_status(status.as_u16()).then(|| retry_after(headers)).flatten();
    Error::Status { status: status.as_u16(), retry_after }
}

/// `Retry-After` in seconds or as an HTTP date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

fn certificates(file: &std::path::Path) -> Result<Vec<reqwest::Certificate>, Error> {
    let config = |text: String| Error::Config(format!("pacs.ca_file: {text}"));
    let pem = std::fs::read(file).map_err(|error| config(error.to_string()))?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| config("not PEM".to_owned()))?;
    if certificates.is_empty() {
        return Err(config("holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// A response body that is read piece by piece, with a limit on silence and on its size.
#[derive(Debug)]
pub(super) struct Body {
    response: Response,
    idle: Duration,
    left: u64,
}

impl Body {
    /// HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Content-Type, empty when absent.
    pub(super) fn content_type(&self) -> &str {
        self.response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// True when the peer warns that more results exist (`Warning: 299`, PS3.18 section 8.3.4.4).
    pub(super) fn has_more(&self) -> bool {
        self.response
            .headers()
            .get_all(WARNING)
            .iter()
            .any(|value| value.to_str().is_ok_and(|text| text.trim_start().starts_with("299")))
    }

    /// The next piece; `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = tokio::time::timeout(self.idle, self.response.chunk())
            .await
            .map_err(|_| Error::Idle(self.idle))?
            .map_err(Error::connection)?;
        if let Some(bytes) = &chunk {
            let size = bytes.len() as u64;
            self.left = self.left.checked_sub(size).ok_or(Error::TooLarge("bytes of a response"))?;
        }
        Ok(chunk)
    }

    /// The whole body.
    pub(super) async fn collect(mut self) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pacs(url: &str) -> Pacs {
        let mut pacs = crate::config::tests::defaults().pacs;
        pacs.url = url.parse().unwrap();
        pacs
    }

    #[test]
    fn urls_keep_the_root_with_and_without_a_slash() {
        for root in ["http://127.0.0.1:1/dicom-web", "http://127.0.0.1:1/dicom-web/"] {
            let transport = Transport::new(&pacs(root)).unwrap();
            assert_eq!(transport.url(&["studies", "1.2"]).as_str(), "http://127.0.0.1:1/dicom-web/studies/1.2");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_date() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "12".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(12)));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        headers.insert(RETRY_AFTER, date.parse().unwrap());
        let wait = retry_after(&headers).unwrap();
        assert!((98..=100).contains(&wait.as_secs()), "{wait:?}");
        headers.insert(RETRY_AFTER, "soon".parse().unwrap());
        assert_eq!(retry_after(&headers), None);
    }

    #[test]
    fn a_ca_file_without_certificates_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut config = pacs("https://127.0.0.1:1/dicom-web");
        config.ca_file = file.path().to_path_buf();
        assert!(matches!(Transport::new(&config), Err(Error::Config(_))));
        config.ca_file = "/nowhere/ca.pem".into();
        assert!(matches!(Transport::new(&config), Err(Error::Config(_))));
    }
}
