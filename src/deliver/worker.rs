//! The delivery worker of one destination: claims what is due, sends it, records what the peer confirmed.
//!
//! The loop wakes on a notification of the outbox or after `deliver.poll_secs`. A claim is a lease: when this process
//! dies another takes the delivery over and finds out from the peer what arrived. The order per study is the store's.

use super::backoff::{Backoff, Breaker};
use super::ehr::{Ehr, Parcel, Undelivered};
use super::pacs::Pacs;
use crate::config::Config;
use crate::dicomweb;
use crate::domain::delivery::{Destination, DestinationMode};
use crate::domain::events::{Event, EventKind, EventOutcome};
use crate::failure::{Class, Code, Failure};
use crate::store::{ClaimedDelivery, Store};
use crate::telemetry::context;
use crate::telemetry::events::DeliveryAttempt;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// Deliveries that one worker sends at a time.
const AT_ONCE: u32 = 4;
/// Longest time between two attempts of a delivery while our credentials are refused; the breaker bounds their number.
const CREDENTIALS_PAUSE: Duration = Duration::from_secs(60);
/// Pause after the store could not be reached.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// Sends to one destination until it is stopped.
pub struct Worker {
    store: Store,
    destination: Destination,
    mode: DestinationMode,
    name: String,
    pacs: Arc<Pacs>,
    ehr: Option<Arc<Ehr>>,
    backoff: Backoff,
    breaker: Breaker,
    poll: Duration,
    limit: Duration,
    lease: Duration,
    heartbeat: Duration,
    max_attempts: u32,
}

/// What became of one attempt.
enum End {
    Delivered(serde_json::Value),
    Failed(Failure),
    /// Another worker took it over: what it finds at the peer decides.
    LeaseLost,
}

impl Worker {
    /// A worker for one destination; `name` tells processes apart in the outbox.
    ///
    /// # Errors
    /// `config-invalid` when the EHR's settings cannot be used.
    pub fn new(
        store: Store,
        pacs: Arc<dicomweb::Client>,
        config: &Config,
        destination: Destination,
        name: &str,
    ) -> Result<Self, Failure> {
        let (mode, ehr) = match destination {
            Destination::Pacs => (config.pacs.mode, None),
            Destination::Ehr => (config.ehr.mode, Some(Arc::new(Ehr::new(config)?))),
        };
        Ok(Self {
            store,
            destination,
            mode,
            name: name.to_owned(),
            pacs: Arc::new(Pacs::new(pacs)),
            ehr,
            backoff: Backoff::new(&config.deliver),
            breaker: Breaker::new(&config.deliver),
            poll: Duration::from_secs(config.deliver.poll_secs.max(1)),
            limit: Duration::from_secs(config.limits.deliver_secs.max(1)),
            lease: config.broker.lease(),
            heartbeat: config.broker.heartbeat(),
            max_attempts: config.deliver.max_attempts.max(1),
        })
    }

    /// Works until `stop`; a delivery that was begun is finished first.
    ///
    /// # Errors
    /// None that end it: trouble with the database is waited out.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        if self.mode == DestinationMode::Off {
            stop.cancelled().await;
            return Ok(());
        }
        let mut listener = None;
        while !stop.is_cancelled() {
            let pause = match self.round(&stop).await {
                Ok(0) => self.poll,
                Ok(_) => Duration::ZERO,
                Err(failure) => {
                    tracing::warn!(destination = self.destination.name(), reason = %failure, "the outbox cannot be read");
                    listener = None;
                    STORE_PAUSE
                }
            };
            if pause.is_zero() {
                continue;
            }
            if listener.is_none() {
                listener = self.store.outbox_listener().await.ok();
            }
            let wake = async {
                match &mut listener {
                    Some(heard) => heard.wait(pause).await.is_ok(),
                    None => {
                        tokio::time::sleep(pause).await;
                        true
                    }
                }
            };
            let fine = tokio::select! { () = stop.cancelled() => return Ok(()), fine = wake => fine };
            if !fine {
                listener = None;
            }
        }
        Ok(())
    }

    /// Claims and sends once; returns how many were claimed.
    ///
    /// # Errors
    /// Of the database.
    pub async fn round(&mut self, stop: &CancellationToken) -> Result<usize, Failure> {
        if let Some(left) = self.breaker.closed_for(Instant::now()) {
            tokio::select! { () = stop.cancelled() => return Ok(0), () = tokio::time::sleep(left.min(self.poll)) => {} }
            return Ok(0);
        }
        let claimed = self.store.claim_due_deliveries(self.destination, &self.name, AT_ONCE, self.lease).await?;
        let ends = futures::future::join_all(claimed.iter().map(|delivery| self.attempt(delivery))).await;
        let mut trouble = None;
        for (delivery, end) in claimed.iter().zip(ends) {
            // What cannot be recorded is taken over when its lease ends; the others still can be.
            trouble = self.record(delivery, end).await.err().or(trouble);
        }
        trouble.map_or(Ok(claimed.len()), Err)
    }

    /// One attempt, within the time that a delivery may take. The lease is renewed meanwhile, so that it can be short
    /// and the delivery of a worker that died does not wait for long.
    async fn attempt(&self, delivery: &ClaimedDelivery) -> End {
        let span = span_of(delivery);
        let work = tokio::time::timeout(self.limit, self.send(delivery)).instrument(span.clone());
        let result = tokio::select! {
            result = work => result,
            () = self.keep(delivery) => return End::LeaseLost,
        };
        let failure = match result {
            Ok(Ok(receipt)) => return End::Delivered(receipt),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::transient(Code::StepTimeout, "the delivery took longer than limits.deliver_secs"),
        };
        span.record("code", failure.code.as_str());
        span.record("otel.status_code", "ERROR");
        End::Failed(failure)
    }

    /// Renews the lease until it is lost. A database that is away does not end it: the lease may still hold.
    async fn keep(&self, delivery: &ClaimedDelivery) {
        loop {
            tokio::time::sleep(self.heartbeat).await;
            let renewed = self.store.renew_delivery(delivery.id, delivery.token, self.lease).await;
            if renewed.is_err_and(|error| Failure::from(error).code == Code::LeaseLost) {
                return;
            }
        }
    }

    async fn send(&self, delivery: &ClaimedDelivery) -> Result<serde_json::Value, Failure> {
        if self.mode == DestinationMode::Hold {
            return Err(Failure::held(Code::DestinationHeld, ""));
        }
        // Nothing leaves that the ledger does not announce.
        self.store.record(&[intent(delivery)]).await?;
        let check = self.pacs.check_patient(&delivery.study, &delivery.patient);
        check.instrument(tracing::info_span!("check-patient")).await?;
        match &self.ehr {
            None => {
                let again = delivery.attempt > 1;
                self.pacs.deliver(&delivery.study, &delivery.artefact, again).await
            }
            Some(ehr) => {
                let receipt = self.store.last_receipt(&delivery.study, Destination::Ehr).await?;
                let bundle = &delivery.artefact.bytes;
                let overwrite = delivery.overwrite;
                let parcel = Parcel { bundle, patient: &delivery.patient, receipt: receipt.as_ref(), overwrite };
                match ehr.deliver(&parcel).await {
                    Ok(receipt) => Ok(receipt),
                    Err(Undelivered { failure, written: None }) => Err(failure),
                    Err(Undelivered { failure, written: Some(receipt) }) => {
                        self.store.note_written(delivery.id, delivery.token, &receipt).await?;
                        Err(failure)
                    }
                }
            }
        }
    }

    async fn record(&mut self, delivery: &ClaimedDelivery, end: End) -> Result<(), Failure> {
        let (id, token) = (delivery.id, delivery.token);
        let (outcome, failure, written) = match end {
            End::Delivered(receipt) => {
                self.breaker.alive();
                ("delivered", None, self.store.delivered(id, token, &receipt, &[]).await)
            }
            End::Failed(failure) => self.record_failure(delivery, failure).await,
            End::LeaseLost => return Ok(()),
        };
        DeliveryAttempt { run: delivery.run, destination: self.destination, outcome, failure: failure.as_ref() }.emit();
        match written.map_err(Failure::from) {
            Ok(_) => Ok(()),
            Err(failure) if failure.code == Code::LeaseLost => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    async fn record_failure(
        &mut self,
        delivery: &ClaimedDelivery,
        failure: Failure,
    ) -> (&'static str, Option<Failure>, crate::store::Result<crate::domain::run::RunState>) {
        let (id, token) = (delivery.id, delivery.token);
        self.count(&failure);
        match failure.class {
            Class::Held => {
                let written = self.store.hold(id, token, &failure, &[]).await;
                ("held", Some(failure), written)
            }
            Class::Transient { retry_after } if delivery.attempt < self.max_attempts => {
                let pause = self.backoff.after(delivery.attempt, retry_after, &mut rand::rng());
                let written = self.store.defer(id, token, pause, &failure, &[]).await;
                ("deferred", Some(failure), written)
            }
            Class::Credentials => {
                let pause = self.backoff.after(u32::MAX, None, &mut rand::rng()).min(CREDENTIALS_PAUSE);
                let written = self.store.put_back(id, token, pause, &failure).await;
                ("deferred", Some(failure), written)
            }
            _ => {
                let written = self.store.fail(id, token, &failure, None, &[]).await;
                ("failed", Some(failure), written)
            }
        }
    }

    /// The breaker counts outages of its own peer: not refusals, and not trouble of the PACS on the way to the EHR.
    fn count(&mut self, failure: &Failure) {
        let (outage, refused) = match self.destination {
            Destination::Pacs => (Code::PacsUnavailable, [Code::PacsUnauthorized, Code::PacsUntrusted]),
            Destination::Ehr => (Code::EhrUnavailable, [Code::EhrUnauthorized, Code::EhrUntrusted]),
        };
        let destination = self.destination.name();
        if failure.class == Class::Credentials && refused.contains(&failure.code) {
            tracing::error!(destination, code = failure.code.as_str(), "nothing is sent until a person corrects this");
            self.breaker.trip(Instant::now());
        } else if !failure.is_transient() {
            self.breaker.alive();
        } else if failure.code == outage && self.breaker.failed(Instant::now()) {
            tracing::warn!(destination, "the breaker is open: nothing is sent for a while");
        }
    }
}

/// The first attempt belongs to the trace of the analysis; a later one, which may be hours after, has its own with a link.
fn span_of(delivery: &ClaimedDelivery) -> Span {
    let span = tracing::info_span!(
        parent: None, "deliver", run = %delivery.run, destination = delivery.destination.name(),
        artefact = delivery.artefact.kind.name(), attempt = delivery.attempt, code = Empty, otel.status_code = Empty,
    );
    let context = delivery.trace_context.as_deref();
    if delivery.token.0 > 1 { context::linked(span, context) } else { context::continued(span, context) }
}

fn intent(delivery: &ClaimedDelivery) -> Event {
    Event {
        kind: EventKind::DeliveryIntent,
        outcome: EventOutcome::Success,
        actor: "scargate".into(),
        study: Some(delivery.study.clone()),
        run: Some(delivery.run),
        peer: Some(delivery.destination.name().into()),
        detail: json!({
            "delivery": delivery.id,
            "attempt": delivery.attempt,
            "artefact": delivery.artefact.kind.name(),
            "sha256": delivery.artefact.sha256(),
        }),
    }
}

/// The event to record at start when the site took responsibility for research models; `None` when it did not.
pub fn research_use_event(config: &Config) -> Option<Event> {
    let statement = config.acknowledge_research_use.trim();
    (!statement.is_empty()).then(|| {
        let mut event = Event::ours(EventKind::ResearchUseAcknowledged);
        event.detail = json!({ "statement": statement });
        event
    })
}
