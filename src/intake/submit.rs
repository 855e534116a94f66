//! One door for every trigger: inputs -> digest -> revision -> queue message.

use super::inputs::inputs;
use crate::dicomweb::Client;
use crate::domain::run::{RunId, RunState};
use crate::domain::submission::{InputDigest, Submission};
use crate::failure::{Code, Failure};
use crate::queue::{Message, Queue, Route};
use crate::store::{Store, Submitted};
use crate::telemetry::context;
use crate::telemetry::events::RunEntered;
use tracing::Instrument;

/// Records a submission and, when it starts a revision, hands it to the workers.
///
/// A broker that is away does not fail the submission: the run is recorded, and the reconciler publishes what is owed.
///
/// # Errors
/// `study-not-found` when the PACS holds no such study; `study-too-large` for a person's request above the limits; of
/// the PACS and the database.
pub async fn submit(store: &Store, pacs: &Client, queue: &Queue, submission: Submission) -> Result<Submitted, Failure> {
    // The first span of a study's trace.
    let span = tracing::info_span!(
        parent: None, "intake", otel.kind = "producer", trigger = submission.trigger.name(), run = tracing::field::Empty,
    );
    take_in(store, pacs, queue, submission).instrument(span).await
}

async fn take_in(store: &Store, pacs: &Client, queue: &Queue, submission: Submission) -> Result<Submitted, Failure> {
    let digest = match inputs(store, pacs, &submission.study).await {
        Ok(inputs) => inputs.digest,
        // Found by the poller: nobody reads an error here, so it becomes a run that ends with the coded reason.
        Err(failure) if failure.code == Code::StudyTooLarge && submission.trigger.is_automatic() => {
            InputDigest::of([&submission.study])
        }
        Err(failure) => return Err(failure),
    };
    let submitted = store.submit(&submission, &digest, context::current().as_deref()).await?;
    if let Submitted::Started { run, .. } = submitted {
        tracing::Span::current().record("run", tracing::field::display(run));
        RunEntered { run, state: RunState::Received, failure: None }.emit();
        publish(store, queue, run).await;
    }
    Ok(submitted)
}

/// A person asks for another try of a run; see [`Store::retry`]. Returns the run's new state.
///
/// # Errors
/// `not-found`, `conflict`; of the database.
pub async fn retry(store: &Store, queue: &Queue, run: RunId, actor: &str) -> Result<RunState, Failure> {
    let state = store.retry(run, actor).await?;
    if state == RunState::Received {
        publish(store, queue, run).await;
    }
    Ok(state)
}

/// Publishes what is owed and notes it; a failure leaves it to the reconciler.
async fn publish(store: &Store, queue: &Queue, run: RunId) {
    match queue.publish(&Message::Run(run), Route::Now).await {
        Ok(()) => {
            if let Err(error) = store.mark_published(run).await {
                tracing::warn!(%run, %error, "published, but not noted: it may be published again");
            }
        }
        Err(error) => tracing::warn!(%run, %error, "not published yet, the reconciler will"),
    }
}
