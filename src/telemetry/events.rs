//! What is worth a log line and a metric, each as one struct that emits both; labels come from closed sets only.

use crate::domain::delivery::Destination;
use crate::domain::run::{RunId, RunState};
use crate::failure::Failure;
use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};
use std::sync::OnceLock;
use std::time::Duration;

struct Instruments {
    runs: Counter<u64>,
    steps: Histogram<f64>,
    deliveries: Counter<u64>,
}

fn instruments() -> &'static Instruments {
    static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();
    INSTRUMENTS.get_or_init(|| {
        let meter = global::meter("scargate");
        Instruments {
            runs: meter.u64_counter("scargate.runs").with_description("Runs that entered a state").build(),
            steps: meter
                .f64_histogram("scargate.step.duration")
                .with_unit("s")
                .with_description("Time of a step")
                .build(),
            deliveries: meter
                .u64_counter("scargate.deliveries")
                .with_description("Delivery attempts by outcome")
                .build(),
        }
    })
}

/// A run entered a state.
pub struct RunEntered<'a> {
    /// The run.
    pub run: RunId,
    /// The state.
    pub state: RunState,
    /// Why, when it did not go well.
    pub failure: Option<&'a Failure>,
}

impl RunEntered<'_> {
    /// Emits the log line and the metric.
    pub fn emit(&self) {
        let code = self.failure.map_or("", |failure| failure.code.as_str());
        instruments().runs.add(1, &[KeyValue::new("state", self.state.name()), KeyValue::new("code", code)]);
        match self.failure {
            None => tracing::info!(run = %self.run, state = %self.state, "run entered state"),
            Some(failure) => {
                tracing::warn!(run = %self.run, state = %self.state, code, reason = %failure, "run entered state");
            }
        }
    }
}

/// A step of a run ended.
pub struct StepFinished {
    /// The run.
    pub run: RunId,
    /// Name of the step, from a closed set.
    pub step: &'static str,
    /// How long it took.
    pub took: Duration,
}

impl StepFinished {
    /// Emits the log line and the metric.
    pub fn emit(&self) {
        instruments().steps.record(self.took.as_secs_f64(), &[KeyValue::new("step", self.step)]);
        tracing::info!(run = %self.run, step = self.step, ms = self.took.as_secs_f64() * 1000.0, "step finished");
    }
}

/// An attempt to deliver ended.
pub struct DeliveryAttempt<'a> {
    /// The run.
    pub run: RunId,
    /// Where to.
    pub destination: Destination,
    /// `delivered`, `deferred`, `held` or `failed`.
    pub outcome: &'static str,
    /// Why, when it was not delivered.
    pub failure: Option<&'a Failure>,
}

impl DeliveryAttempt<'_> {
    /// Emits the log line and the metric.
    pub fn emit(&self) {
        let destination = self.destination.name();
        let labels = [KeyValue::new("destination", destination), KeyValue::new("outcome", self.outcome)];
        instruments().deliveries.add(1, &labels);
        match self.failure {
            None => tracing::info!(run = %self.run, destination, outcome = self.outcome, "delivery attempt"),
            Some(failure) => {
                tracing::warn!(run = %self.run, destination, outcome = self.outcome, reason = %failure, "delivery attempt");
            }
        }
    }
}
