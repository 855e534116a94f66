//! Time of the measures on 12 slices of 256 x 256 with a third of the wall scar: `cargo bench --bench measures`. The target
//! is 20 ms. No model and no server is needed. What takes the time inside tells `perf record --call-graph dwarf`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod shared;

use scargate::config;
use scargate::quantify;
use shared::{heart, time};

fn main() {
    let (stack, labels) = heart(12);
    let settings = config::load(&[]).unwrap().quantify;
    shared::head();
    let (_, measures) =
        time("quantify, 12 x 256 x 256", || quantify::measure(&stack, labels.clone(), &settings).unwrap());
    assert!(measures.segments.segments.iter().all(|segment| segment.transmurality.value().is_some()));
}
