//! Wire forms of what the REST part shows: apart from the domain and from database rows, so that each can change alone.

use crate::store;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::serde::rfc3339;

macro_rules! wire {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident : $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Serialize)]
        // Field names are the documentation of a wire form; docs/rest.md describes them.
        #[allow(missing_docs)]
        pub struct $name { $($(#[$attribute])* pub $field: $type),+ }
    };
}

wire!(
    /// What became of a submission.
    Submitted {
        outcome: &'static str,
        run: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        revision: Option<u32>,
    }
);

impl From<store::Submitted> for Submitted {
    fn from(submitted: store::Submitted) -> Self {
        match submitted {
            store::Submitted::Started { run, revision } => {
                Self { outcome: "started", run: run.to_string(), revision: Some(revision) }
            }
            store::Submitted::Unchanged { run } => Self { outcome: "unchanged", run: run.to_string(), revision: None },
            store::Submitted::AlreadyOpen { run } => {
                Self { outcome: "already-open", run: run.to_string(), revision: None }
            }
        }
    }
}

wire!(
    /// A run in a list.
    Run {
        id: String,
        study: String,
        revision: u32,
        trigger: &'static str,
        actor: String,
        state: &'static str,
        attempts: u32,
        code: Option<String>,
        detail: Option<String>,
        pipeline_version: Option<String>,
        #[serde(with = "rfc3339")]
        created_at: OffsetDateTime,
        #[serde(with = "rfc3339")]
        updated_at: OffsetDateTime,
        #[serde(with = "rfc3339::option")]
        ended_at: Option<OffsetDateTime>,
    }
);

impl From<store::RunSummary> for Run {
    fn from(run: store::RunSummary) -> Self {
        Self {
            id: run.id.to_string(),
            study: run.study.to_string(),
            revision: run.revision,
            trigger: run.trigger.name(),
            actor: run.actor,
            state: run.state.name(),
            attempts: run.attempts,
            code: run.failure_code,
            detail: run.failure_detail,
            pipeline_version: run.pipeline_version,
            created_at: run.created_at,
            updated_at: run.updated_at,
            ended_at: run.ended_at,
        }
    }
}

wire!(
    /// One attempt at a run.
    Attempt {
        attempt: i32,
        worker: String,
        reason: String,
        #[serde(with = "rfc3339")]
        started_at: OffsetDateTime,
        #[serde(with = "rfc3339::option")]
        ended_at: Option<OffsetDateTime>,
        outcome: Option<String>,
        code: Option<String>,
        detail: Option<String>,
    }
);
wire!(
    /// One delivery of a run.
    Delivery {
        id: String,
        destination: &'static str,
        artefact: String,
        required: bool,
        state: &'static str,
        attempts: u32,
        code: Option<String>,
        detail: Option<String>,
        response: Option<Value>,
        #[serde(with = "rfc3339::option")]
        delivered_at: Option<OffsetDateTime>,
    }
);
wire!(
    /// One artefact of a run, without its bytes.
    Artefact {
        kind: &'static str,
        name: String,
        sha256: String,
        size: u64,
        sop_instance: Option<String>,
        series: Option<String>,
        expired: bool,
    }
);
wire!(
    /// One audit event of a run.
    Event {
        #[serde(with = "rfc3339")]
        recorded_at: OffsetDateTime,
        kind: String,
        outcome: String,
        actor: String,
        peer: Option<String>,
    }
);
wire!(
    /// Everything about one run.
    RunDetail {
        #[serde(flatten)]
        run: Run,
        attempt_log: Vec<Attempt>,
        deliveries: Vec<Delivery>,
        artefacts: Vec<Artefact>,
        measures: Option<Value>,
        timeline: Vec<Event>,
    }
);

impl From<store::RunDetail> for RunDetail {
    fn from(detail: store::RunDetail) -> Self {
        let attempts = detail.attempts.into_iter().map(|a| Attempt {
            attempt: a.attempt,
            worker: a.worker,
            reason: a.reason,
            started_at: a.started_at,
            ended_at: a.ended_at,
            outcome: a.outcome,
            code: a.code,
            detail: a.detail,
        });
        let deliveries = detail.deliveries.into_iter().map(|d| Delivery {
            id: d.id.to_string(),
            destination: d.destination.name(),
            artefact: d.artefact,
            required: d.required,
            state: d.state.name(),
            attempts: d.attempts,
            code: d.code,
            detail: d.detail,
            response: d.response,
            delivered_at: d.delivered_at,
        });
        let artefacts = detail.artefacts.into_iter().map(|a| Artefact {
            kind: a.kind.name(),
            name: a.name,
            sha256: a.sha256,
            size: a.size,
            sop_instance: a.sop_instance,
            series: a.series,
            expired: a.expired,
        });
        let timeline = detail.timeline.into_iter().map(|e| Event {
            recorded_at: e.recorded_at,
            kind: e.kind,
            outcome: e.outcome,
            actor: e.actor,
            peer: e.peer,
        });
        Self {
            run: detail.summary.into(),
            attempt_log: attempts.collect(),
            deliveries: deliveries.collect(),
            artefacts: artefacts.collect(),
            measures: detail.measures,
            timeline: timeline.collect(),
        }
    }
}
