//! One attempt at a claimed run: list, retrieve, select, analyse, commit.

use super::plan::plan;
use super::settle::persist;
use super::worker::Shared;
use crate::analysis::{self, Analysis, RunFacts, Selection};
use crate::dicomweb::Syntax;
use crate::domain::events::{Event, EventKind, EventOutcome};
use crate::domain::run::{RunId, RunState};
use crate::domain::source::SourceObject;
use crate::domain::stack::SeriesDecision;
use crate::domain::uid::Uid;
use crate::failure::{Code, Failure};
use crate::intake::{self, InputSeries};
use crate::store::{Claimed, Finished};
use crate::study;
use crate::telemetry::context;
use crate::telemetry::events::{RunEntered, StepFinished};
use dicom_object::InMemDicomObject;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use tracing::field::Empty;

/// How an attempt ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The run is in this state, durably.
    Entered(RunState),
    /// The process stops; nothing was made yet.
    Stopped,
}

/// An attempt and what it works with.
pub(super) struct Attempt<'a> {
    pub shared: &'a Shared,
    pub claimed: &'a Claimed,
    pub stop: &'a CancellationToken,
}

/// Wall time of the steps, milliseconds; recorded with the analysis.
#[derive(Default)]
struct Times(Mutex<Vec<(&'static str, f64)>>);

impl Times {
    /// Does a step in a span of its own, and notes how long it took when it succeeded.
    async fn step<T>(
        &self,
        run: RunId,
        step: &'static str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        let span = tracing::info_span!("step", otel.name = step, %run, code = Empty, otel.status_code = Empty);
        let done = work.instrument(span.clone()).await;
        match &done {
            Ok(_) => self.note(run, step, start),
            Err(failure) => {
                span.record("code", failure.code.as_str());
                span.record("otel.status_code", "ERROR");
            }
        }
        done
    }

    fn note(&self, run: RunId, step: &'static str, start: Instant) {
        let took = start.elapsed();
        StepFinished { run, step, took }.emit();
        if let Ok(mut times) = self.0.lock() {
            times.push((step, took.as_secs_f64() * 1000.0));
        }
    }

    fn json(&self) -> Value {
        let times = self.0.lock().map(|times| times.clone()).unwrap_or_default();
        times.into_iter().map(|(step, ms)| (step.to_owned(), json!((ms * 10.0).round() / 10.0))).collect()
    }
}

impl Attempt<'_> {
    /// Runs the steps.
    ///
    /// # Errors
    /// The failure of the step that did not succeed; its class says what follows.
    pub async fn run(&self) -> Result<End, Failure> {
        let Shared { store, .. } = self.shared;
        let times = Times::default();
        let retrieved = tokio::select! {
            retrieved = self.retrieve(&times) => retrieved?,
            () = self.stop.cancelled() => return Ok(End::Stopped),
        };
        let (run, token) = (self.claimed.run, self.claimed.token);
        let bytes: u64 = retrieved.objects.iter().map(SourceObject::size).sum();
        let got = json!({ "objects": retrieved.objects.len(), "bytes": bytes, "series_left": retrieved.left.len() });
        let outcome = [self.retrieve_event(EventOutcome::Success, got)];
        store.set_state(run, token, RunState::Retrieving, RunState::Analyzing, &outcome).await?;
        RunEntered { run, state: RunState::Analyzing, failure: None }.emit();

        let selection = self.select(retrieved, &times).await?;
        let digest = selection.digest.as_str().to_owned();
        if self.claimed.trigger.is_automatic() && self.is_as_before(&digest).await? {
            store.unchanged(run, token, &digest, &[]).await?;
            return Ok(End::Entered(RunState::Unchanged));
        }
        let analysis = self.analyse(selection, &times).await?;
        let state = self.commit(analysis, digest, &times).await?;
        Ok(End::Entered(state))
    }

    async fn is_as_before(&self, digest: &str) -> Result<bool, Failure> {
        let before = self.shared.store.previous_selection(self.claimed.run).await?;
        Ok(before.is_some_and(|(_, selected)| selected == digest))
    }

    /// Lists the MR series that are not ours and fetches those that could be the stack; the intent is recorded before, a
    /// failure after.
    async fn retrieve(&self, times: &Times) -> Result<Retrieved, Failure> {
        let Shared { store, pacs, .. } = self.shared;
        let run = self.claimed.run;
        let inputs = times.step(run, "list", intake::inputs(store, pacs, &self.claimed.study)).await?;
        let intent = json!({
            "series": inputs.series.len(), "instances": inputs.instances, "input_digest": inputs.digest.as_str(),
            "as_submitted": inputs.digest == self.claimed.input_digest,
        });
        let mut event = self.event(EventKind::RetrieveIntent, intent);
        event.peer = Some("pacs".into());
        store.record(&[event]).await?;

        let (series, left) = times.step(run, "look", self.look(&inputs.series)).await?;
        let objects = match times.step(run, "retrieve", self.fetch(&series, Syntax::AsStored)).await {
            Ok(objects) => objects,
            Err(failure) => {
                let detail = json!({ "code": failure.code.as_str() });
                store.record(&[self.retrieve_event(EventOutcome::MinorFailure, detail)]).await?;
                return Err(failure);
            }
        };
        Ok(Retrieved { series, objects, left })
    }

    /// Sorts the series by a few headers of each: those to fetch, and those that cannot be the stack. A PACS that does
    /// not show headers is asked once, and then for everything.
    async fn look(&self, series: &[InputSeries]) -> Result<(Vec<Uid>, Vec<SeriesDecision>), Failure> {
        let (mut wanted, mut left) = (Vec::new(), Vec::new());
        let mut shows_headers = true;
        for one in series {
            let headers = if shows_headers { self.headers(one).await } else { Vec::new() };
            shows_headers = !headers.is_empty();
            match study::leave(&headers, &self.shared.config.study, &self.shared.config.limits)? {
                Some(decision) => left.push(decision),
                None => wanted.push(one.series.clone()),
            }
        }
        Ok((wanted, left))
    }

    /// Headers of some images of a series; none when the PACS does not give all that were asked for.
    async fn headers(&self, series: &InputSeries) -> Vec<InMemDicomObject> {
        let Shared { pacs, .. } = self.shared;
        let samples = series.samples().into_iter();
        let asked = samples.map(|sop| pacs.instance_header(&self.claimed.study, &series.series, sop));
        match futures::future::try_join_all(asked).await {
            Ok(headers) => headers,
            Err(failure) => {
                tracing::info!(code = failure.code.as_str(), "the PACS shows no headers, all series are retrieved");
                Vec::new()
            }
        }
    }

    async fn fetch(&self, series: &[Uid], syntax: Syntax) -> Result<Vec<SourceObject>, Failure> {
        let limit = Duration::from_secs(self.shared.config.limits.retrieve_secs);
        let fetching = async {
            let mut objects = Vec::new();
            for series in series {
                objects.extend(self.shared.pacs.retrieve_series(&self.claimed.study, series, syntax).await?);
            }
            Ok(objects)
        };
        match tokio::time::timeout(limit, fetching).await {
            Ok(fetched) => fetched,
            Err(_) => Err(Failure::transient(Code::StepTimeout, "retrieve")),
        }
    }

    /// Chooses the stack. Images that we cannot decode are fetched once more, decoded by the PACS. Where none is found,
    /// the reason for each series is recorded.
    async fn select(&self, retrieved: Retrieved, times: &Times) -> Result<Selection, Failure> {
        let (run, left) = (self.claimed.run, retrieved.left);
        let mut selected = times.step(run, "select", self.compute_selection(retrieved.objects)).await?;
        if matches!(selected, Err(study::Error::NeedsTranscoding)) {
            let again = self.fetch(&retrieved.series, Syntax::ExplicitLittleEndian);
            let decoded = times.step(run, "retrieve-decoded", again).await?;
            selected = self.compute_selection(decoded).await?;
        }
        match selected {
            Ok(mut selection) => {
                selection.stack.decisions.extend(left);
                Ok(selection)
            }
            Err(mut error) => {
                error.add_decisions(left);
                let series = decisions(error.decisions());
                let failure = Failure::from(error);
                let detail = json!({ "code": failure.code.as_str(), "series": series });
                let mut event = self.event(EventKind::Analysis, detail);
                event.outcome = EventOutcome::MinorFailure;
                self.shared.store.record(&[event]).await?;
                Err(failure)
            }
        }
    }

    async fn compute_selection(&self, objects: Vec<SourceObject>) -> Result<Result<Selection, study::Error>, Failure> {
        let (engine, config) = (self.shared.engine.clone(), self.shared.config.clone());
        // The objects are dropped with the closure: from here on the study is in memory once, as a stack.
        self.compute("select", move || Ok(analysis::select(&objects, &engine, &config))).await
    }

    async fn analyse(&self, selection: Selection, times: &Times) -> Result<Analysis, Failure> {
        let Shared { store, engine, config, .. } = self.shared;
        let summary = store.run_summary(self.claimed.run).await?;
        let created = summary.ok_or_else(|| Failure::permanent(Code::LeaseLost, ""))?.created_at;
        let facts = RunFacts {
            run: self.claimed.run,
            revision: self.claimed.revision,
            created,
            input_digest: self.claimed.input_digest.clone(),
            outdated: store.outdated_objects(&self.claimed.study, self.claimed.revision).await?,
        };
        let (engine, config) = (engine.clone(), config.clone());
        let work = move || analysis::analyse(selection.stack, &engine, &config, &facts, &|_| {});
        times.step(self.claimed.run, "analyze", self.compute("analyze", work)).await
    }

    /// Runs blocking work on a thread of its own, bounded in number and time. Work that is given up goes on until it
    /// ends, holding its place.
    async fn compute<T: Send + 'static>(
        &self,
        step: &'static str,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let limit = Duration::from_secs(self.shared.config.limits.analyze_secs);
        let place = self.shared.computing.clone();
        let span = tracing::Span::current();
        let working = async move {
            let place = place.acquire_owned().await;
            let thread = tokio::task::spawn_blocking(move || {
                let _place = place;
                span.in_scope(work)
            });
            thread.await.unwrap_or_else(|error| {
                let what = if error.is_panic() { "panicked" } else { "was stopped" };
                Err(Failure::permanent(Code::Internal, format!("step {step} {what}")))
            })
        };
        match tokio::time::timeout(limit, working).await {
            Ok(result) => result,
            Err(_) => Err(Failure::transient(Code::StepTimeout, step)),
        }
    }

    /// Artefacts, outbox, state and audit events in one transaction, guarded by the token.
    async fn commit(&self, analysis: Analysis, digest: String, times: &Times) -> Result<RunState, Failure> {
        let Shared { store, config, version, .. } = self.shared;
        let measures = serde_json::to_value(&analysis.measures)
            .map_err(|error| Failure::permanent(Code::Internal, format!("measures: {error}")))?;
        let event = self.analysis_event(&analysis, &digest, times);
        let finished = Finished {
            selection_digest: digest,
            pipeline_version: version.clone(),
            deliveries: plan(config, &analysis.measures, &analysis.artefacts),
            identity: analysis.stack.identity,
            measures,
            artefacts: analysis.artefacts,
            trace_context: context::current(),
        };
        let events = [event];
        let (run, token) = (self.claimed.run, self.claimed.token);
        let write = async { Ok(persist(|| store.finish_analysis(run, token, &finished, &events)).await?) };
        times.step(run, "commit", write).await
    }

    fn analysis_event(&self, analysis: &Analysis, digest: &str, times: &Times) -> Event {
        let labels = &analysis.labels;
        let models: Vec<Value> = labels
            .models
            .iter()
            .map(|m| json!({ "role": m.role, "name": m.name, "version": m.version, "sha256": m.sha256 }))
            .collect();
        let flags: Vec<&str> = analysis.measures.review_flags.iter().map(|flag| flag.code()).collect();
        self.event(
            EventKind::Analysis,
            json!({
                "models": models,
                "provider": labels.provider,
                "pipeline_version": self.shared.version.as_str(),
                "selection_digest": digest,
                "slices": analysis.stack.slices.len(),
                "series": decisions(&analysis.stack.decisions),
                "quality": analysis.measures.quality,
                "review_flags": flags,
                "steps_ms": times.json(),
                "models_ms": labels.timings,
            }),
        )
    }

    fn event(&self, kind: EventKind, detail: Value) -> Event {
        let mut event = Event::ours(kind);
        event.study = Some(self.claimed.study.clone());
        event.run = Some(self.claimed.run);
        event.detail = detail;
        event
    }

    fn retrieve_event(&self, outcome: EventOutcome, detail: Value) -> Event {
        let mut event = self.event(EventKind::RetrieveOutcome, detail);
        event.outcome = outcome;
        event.peer = Some("pacs".into());
        event
    }
}

/// What came from the PACS.
struct Retrieved {
    series: Vec<Uid>,
    objects: Vec<SourceObject>,
    /// Series whose headers told enough.
    left: Vec<SeriesDecision>,
}

/// Why each series was taken or left, by series number: a UID has no place in an event.
fn decisions(decisions: &[SeriesDecision]) -> Vec<Value> {
    decisions.iter().map(|d| json!({ "number": d.series_number, "taken": d.taken, "reason": d.reason })).collect()
}
