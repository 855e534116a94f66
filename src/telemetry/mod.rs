//! Logs, traces and metrics: set up once, flushed once. Nothing here ever holds patient data; see `events`.

pub mod context;
pub mod events;

use crate::config::{self, LogFormat};
use crate::failure::{Code, Failure};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::io::IsTerminal;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Keeps the exporters; [`Guard::flush`] sends what is left.
#[derive(Default)]
pub struct Guard {
    tracer: Option<SdkTracerProvider>,
    meter: Option<SdkMeterProvider>,
}

impl Guard {
    /// Sends what is still buffered. Blocks for a few seconds at most; call it outside async code.
    pub fn flush(self) {
        // A collector that is away must not make a shutdown fail.
        if let Some(tracer) = self.tracer {
            let _ = tracer.shutdown();
        }
        if let Some(meter) = self.meter {
            let _ = meter.shutdown();
        }
    }
}

/// Sets up logging to standard error and, when an endpoint is configured, traces and metrics over OTLP/HTTP.
///
/// # Errors
/// `config-invalid` when the filter or the endpoint is not valid.
pub fn init(settings: &config::Telemetry) -> Result<Guard, Failure> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let guard = exporters(&settings.otlp_endpoint)?;
    let filter =
        EnvFilter::try_new(&settings.log).map_err(|_| invalid("telemetry.log is not a list of tracing directives"))?;
    // Colours are for people at a terminal: in a file they are noise.
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(true);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    let lines = match settings.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Only what we wrote ourselves is exported: spans of libraries may hold URLs, and with them UIDs. A site that wants
    // fewer log lines does not lose its traces.
    let spans = guard.tracer.as_ref().map(|provider| {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("scargate"));
        let layer = layer.with_location(false).with_target(false).with_threads(false);
        layer.with_filter(Targets::new().with_target("scargate", LevelFilter::INFO))
    });
    // A second call (tests that start several apps in one process) keeps the first subscriber.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).try_init();
    Ok(guard)
}

fn exporters(endpoint: &str) -> Result<Guard, Failure> {
    if endpoint.is_empty() {
        return Ok(Guard::default());
    }
    let base = endpoint.trim_end_matches('/');
    let resource = Resource::builder()
        .with_service_name("scargate")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let spans = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{base}/v1/traces"))
        .build()
        .map_err(|_| invalid("telemetry.otlp_endpoint is not usable for traces"))?;
    let tracer = SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(spans).build();
    let metrics = opentelemetry_otlp::MetricExporter::builder()
        .with_http()
        .with_endpoint(format!("{base}/v1/metrics"))
        .build()
        .map_err(|_| invalid("telemetry.otlp_endpoint is not usable for metrics"))?;
    let meter = SdkMeterProvider::builder().with_resource(resource).with_periodic_exporter(metrics).build();
    global::set_meter_provider(meter.clone());
    Ok(Guard { tracer: Some(tracer), meter: Some(meter) })
}

fn invalid(text: &str) -> Failure {
    Failure::permanent(Code::ConfigInvalid, text)
}
