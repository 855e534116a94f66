//! W3C trace context in message headers, so that one trace spans the process that submitted and the one that worked.

use lapin::types::{AMQPValue, FieldTable, ShortString};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing_opentelemetry::OpenTelemetrySpanExt;

struct Headers<'a>(&'a mut FieldTable);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(ShortString::from(key), AMQPValue::LongString(value.into()));
    }
}

struct Read<'a>(&'a FieldTable);

impl Extractor for Read<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match self.0.inner().get(key)? {
            AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
            AMQPValue::ShortString(text) => Some(text.as_str()),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        self.0.inner().keys().map(ShortString::as_str).collect()
    }
}

/// Writes `traceparent` (and `tracestate`) of the current span.
pub(super) fn inject(headers: &mut FieldTable) {
    let context = tracing::Span::current().context();
    TraceContextPropagator::new().inject_context(&context, &mut Headers(headers));
}

/// The context that a message carries; empty when it carries none or a malformed one.
pub(super) fn extract(headers: Option<&FieldTable>) -> Context {
    headers.map_or_else(Context::new, |headers| TraceContextPropagator::new().extract(&Read(headers)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TraceContextExt;

    const TRACEPARENT: &str = "traceparent";

    #[test]
    fn a_traceparent_survives_the_headers() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"; // the example of the W3C recommendation
        let mut table = FieldTable::default();
        table.insert(TRACEPARENT.into(), AMQPValue::LongString(text.into()));
        let context = extract(Some(&table));
        assert_eq!(context.span().span_context().trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let mut back = FieldTable::default();
        TraceContextPropagator::new().inject_context(&context, &mut Headers(&mut back));
        assert_eq!(Read(&back).get(TRACEPARENT), Some(text));
    }

    #[test]
    fn malformed_headers_give_no_context() {
        let mut table = FieldTable::default();
        table.insert(TRACEPARENT.into(), AMQPValue::LongString("nonsense".into()));
        assert!(!extract(Some(&table)).span().span_context().is_valid());
        assert!(!extract(None).span().span_context().is_valid());
    }
}
