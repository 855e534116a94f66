//! W3C trace context as text: kept with a run, so that work taken up later, in another process, belongs to its trace.

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use std::collections::HashMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";

/// `traceparent` of the current span; `None` when nothing is traced.
pub fn current() -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Makes a span that was not entered yet a child of a stored `traceparent`: the first try of the work.
pub fn continued(span: Span, traceparent: Option<&str>) -> Span {
    continue_in(span, parsed(traceparent))
}

/// Links a span that was not entered yet, and that has no parent, to a stored `traceparent`: a later try, which may come
/// hours after the trace ended.
pub fn linked(span: Span, traceparent: Option<&str>) -> Span {
    link_to(span, &parsed(traceparent))
}

/// As [`continued`], with a context that was read already.
pub fn continue_in(span: Span, context: Context) -> Span {
    // Fails only where no OpenTelemetry layer is installed; the span is then a plain one.
    let _ = span.set_parent(context);
    span
}

/// As [`linked`], with a context that was read already.
pub fn link_to(span: Span, context: &Context) -> Span {
    span.add_link(context.span().span_context().clone());
    span
}

fn parsed(traceparent: Option<&str>) -> Context {
    let carrier: HashMap<String, String> =
        traceparent.map(|text| (TRACEPARENT.to_owned(), text.to_owned())).into_iter().collect();
    TraceContextPropagator::new().extract(&carrier)
}
