//! The sections, field for field as config/default.toml documents them.

use super::Secret;
use crate::domain::delivery::DestinationMode;
use crate::domain::labels::ScarSource;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use time::UtcOffset;
use url::Url;

macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident { $($field:ident : $type:ty),+ $(,)? })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Deserialize)]
            #[serde(deny_unknown_fields)]
            // The manual of every field is config/default.toml; a second text here would drift from it.
            #[allow(missing_docs)]
            pub struct $name { $(pub $field: $type),+ }
        )+
    };
}

sections! {
    /// The whole configuration.
    Config {
        acknowledge_research_use: String,
        server: Server,
        oidc: Oidc,
        database: Database,
        broker: Broker,
        pacs: Pacs,
        intake: Intake,
        limits: Limits,
        spool: Spool,
        study: Study,
        infer: Infer,
        quantify: Quantify,
        encode: Encode,
        deliver: Deliver,
        ehr: Ehr,
        audit: Audit,
        telemetry: Telemetry,
    }
    /// `[server]`
    Server { bind: IpAddr, port: u16, auth: ServerAuth, tls: ServerTls, max_body_bytes: usize, grace_secs: u64 }
    /// `[oidc]`
    Oidc {
        issuer: String, audience: String, jwks_url: String, algorithms: Vec<String>, leeway_secs: u64, keys_max_age_secs: u64,
        keys_floor_secs: u64, ca_file: PathBuf, refusals_per_minute: u32, roles_claim: String, roles: BTreeMap<String, Vec<Scope>>,
    }
    /// `[database]`
    Database {
        url: Secret, owner_url: Secret, app_role: String, auditor_role: String, max_connections: u32, acquire_timeout_secs: u64,
    }
    /// `[broker]`
    Broker {
        url: Secret, prefix: String, prefetch: u16, retry_delays_secs: Vec<u64>, max_attempts: u32, delivery_limit: u32,
        lease_secs: u64, heartbeat_secs: u64, reconcile_secs: u64,
    }
    /// `[pacs]`
    Pacs {
        url: Url, mode: DestinationMode, auth: PacsAuth, username: String, password: Secret, token: Secret, ca_file: PathBuf,
        sr: bool, result_images: bool, rejection_notes: bool,
        connect_timeout_secs: u64, idle_timeout_secs: u64, request_retries: u32, page_size: usize,
    }
    /// `[intake]`
    Intake { poll: bool, poll_interval_secs: u64, lookback_days: u16, quiet_secs: u64, webhook_token: Secret, webhook_key_sha256: Vec<String> }
    /// `[limits]`
    Limits {
        study_bytes: u64, instance_bytes: u64, study_instances: usize, frame_pixels: usize, frames: usize, multipart_parts: usize,
        json_bytes: u64, json_depth: usize, retrieve_secs: u64, analyze_secs: u64, deliver_secs: u64, artefact_bytes: u64,
    }
    /// `[spool]`
    Spool { directory: PathBuf, max_bytes: u64, memory_bytes: u64 }
    /// `[study]`
    Study { include: String, exclude: String, min_slices: usize }
    /// `[infer]`
    Infer {
        models: PathBuf, library: PathBuf, providers: Vec<Provider>, require: Provider, threads: usize, batch: usize,
        scar_source: ScarSource, device: u32,
    }
    /// `[quantify]`
    Quantify {
        min_area_mm2: f64, min_mass_g: f64, min_burden_percent: f64, max_burden_percent: f64, no_reflow: NoReflow,
        chords: usize, anterior_insertion_mm: Vec<f64>,
    }
    /// `[encode]`
    Encode { device_serial: String, seg_series_number: u32, utc_offset: String, transmurality: SegmentForm }
    /// `[deliver]`
    Deliver {
        poll_secs: u64, backoff_secs: u64, backoff_max_secs: u64, retry_after_max_secs: u64, max_attempts: u32,
        breaker_failures: u32, breaker_open_secs: u64, keep_days: u32,
    }
    /// `[ehr]`
    Ehr {
        url: Url, mode: DestinationMode, release: Release, auth: EhrAuth, username: String, password: Secret, client_id: String,
        private_key: Secret, key_id: String, algorithm: String, scopes: String, ca_file: PathBuf, connect_timeout_secs: u64,
        timeout_secs: u64, patient_system: String, accession_system: String, patient_systems: BTreeMap<String, String>,
        order: OrderMatch, pdf: bool, bullseye: bool, code_system: bool,
    }
    /// `[audit]`
    Audit {
        pseudonym_key: Secret, checkpoint_key: Secret, checkpoint_directory: PathBuf, checkpoint_secs: u64, seal_secs: u64,
    }
    /// `[telemetry]`
    Telemetry { log: String, format: LogFormat, otlp_endpoint: String }
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }
    };
}

choice!(
    /// How callers prove who they are.
    ServerAuth {
        /// Not at all: every caller is this machine.
        Off,
        /// Bearer tokens of an OpenID Connect issuer.
        Oidc,
    }
);
choice!(
    /// Who ends TLS in front of the API.
    ServerTls {
        /// Nobody.
        None,
        /// A proxy or ingress, on a network that only it reaches us by.
        Proxy,
    }
);
choice!(
    /// What a caller may do.
    #[derive(PartialOrd, Ord)]
    Scope {
        /// Start, list, retry and cancel runs.
        Runs,
        /// The radiology worklist.
        Worklist,
        /// Read results.
        Results,
        /// Decide on results and deliveries.
        Review,
        /// Read the audit trail.
        Audit,
        /// Operate the gateway.
        Admin,
    }
);
choice!(
    /// How transmurality by segment is told to the EHR.
    SegmentForm {
        /// One Observation per segment.
        Members,
        /// One Observation with components.
        Components,
    }
);
choice!(
    /// How we authenticate to the PACS.
    PacsAuth {
        /// Not at all.
        None,
        /// HTTP Basic.
        Basic,
        /// A bearer token.
        Bearer,
    }
);
choice!(
    /// How we authenticate to the EHR.
    EhrAuth {
        /// Not at all.
        None,
        /// HTTP Basic.
        Basic,
        /// SMART Backend Services.
        Smart,
    }
);
choice!(
    /// When results may leave for the EHR.
    Release {
        /// When a person signed.
        OnSignoff,
        /// As soon as they are there, `preliminary`.
        OnAnalysis,
    }
);
choice!(
    /// Whether an order must be found in the EHR.
    OrderMatch {
        /// Orders are not looked up.
        None,
        /// Linked when found.
        Optional,
        /// Held when not found.
        Required,
    }
);
choice!(
    /// Execution providers of ONNX Runtime.
    Provider {
        /// CPU.
        Cpu,
        /// NVIDIA CUDA.
        Cuda,
        /// NVIDIA TensorRT.
        Tensorrt,
    }
);
choice!(
    /// Whether no-reflow values are shown.
    NoReflow {
        /// Shown.
        Show,
        /// Withheld with a reason.
        Withhold,
    }
);
choice!(
    /// Form of log lines.
    LogFormat {
        /// For people.
        Text,
        /// For machines.
        Json,
    }
);

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 6] = [Self::Runs, Self::Worklist, Self::Results, Self::Review, Self::Audit, Self::Admin];

    /// Name as in configuration and challenges.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Worklist => "worklist",
            Self::Results => "results",
            Self::Review => "review",
            Self::Audit => "audit",
            Self::Admin => "admin",
        }
    }
}

impl Provider {
    /// Name as in configuration and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
        }
    }
}

impl Server {
    /// Grace period of a shutdown.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_secs)
    }
}

impl Quantify {
    /// The anterior insertion of the right ventricle when it is given: patient position, mm LPS.
    pub fn anterior_insertion(&self) -> Option<[f64; 3]> {
        let finite = self.anterior_insertion_mm.iter().all(|value| value.is_finite());
        self.anterior_insertion_mm.as_slice().try_into().ok().filter(|_| finite)
    }
}

impl Encode {
    /// Offset of the clock of studies whose images state none; `None` when the text is not `+hh:mm`.
    pub fn assumed_offset(&self) -> Option<UtcOffset> {
        let digits = self.utc_offset.get(1..)?;
        let (hours, minutes) = digits.split_once(':')?;
        let number = |text: &str| (text.len() == 2).then(|| text.parse::<i8>().ok())?;
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        let sign = match self.utc_offset.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        (0..=14).contains(&hours).then_some(())?;
        (0..60).contains(&minutes).then_some(())?;
        UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
    }
}

impl Broker {
    /// Length of a lease.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_secs)
    }

    /// Time between heartbeats.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat_secs)
    }
}
