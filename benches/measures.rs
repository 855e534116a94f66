//! Time of the measures on 12 slices of 256 x 256 with a third of the wall scar: `cargo bench --bench measures`. The target
//! is 20 ms. No model and no server is needed.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Instant;

use ndarray::Array2;
use scargate::cli::handover;
use scargate::config;
use scargate::domain::labels::{Label, ScarSource, Segmentation, SliceLabels};
use scargate::domain::stack::Stack;
use scargate::encode::bullseye;
use scargate::phantom::study::{Study, StudySpec};
use scargate::phantom::{SeedSpace, Spec};
use scargate::quantify;

const SLICES: usize = 12;
const SIDE: usize = 256;
const REPEATS: u32 = 20;

/// A ring that narrows toward the apex, in the planes of a phantom.
fn heart(template: &Stack) -> (Stack, Segmentation) {
    let mut stack = template.clone();
    let first = template.slices[0].clone();
    let (mut slices, mut labels) = (Vec::new(), Vec::new());
    for index in 0..SLICES {
        let taper = 1.0 - 0.6 * (index as f64 / SLICES as f64).powi(2);
        let drawn = Array2::from_shape_fn((SIDE, SIDE), |(r, c)| {
            let (y, x) = (r as f64 - 128.0, c as f64 - 128.0);
            let label = match x.hypot(y) {
                radius if radius < 20.0 * taper => Label::Cavity,
                radius if radius > 20.0 * taper + 8.0 => Label::Background,
                radius if x > 6.0 && radius < 20.0 * taper + 5.0 => Label::Scar,
                _ => Label::Myocardium,
            };
            label as u8
        });
        let mut slice = first.clone();
        slice.pixels = drawn.mapv(|label| [20.0, 100.0, 0.0, 120.0, 5.0][usize::from(label)])
            + Array2::from_shape_fn((SIDE, SIDE), |(r, c)| ((r * 7 + c * 3) % 5) as f32);
        let normal = slice.plane.normal();
        slice.plane.position_mm = std::array::from_fn(|k| slice.plane.position_mm[k] + 8.0 * index as f64 * normal[k]);
        slices.push(slice);
        let scar = drawn.mapv(|label| label >= Label::Scar as u8);
        let (scar_inner, scar_outer) = (scar.clone(), scar);
        labels.push(SliceLabels {
            labels: drawn,
            scar_inner,
            scar_outer,
            boxes: vec![],
            entropy: None,
            agreement: 1.0,
        });
    }
    stack.slices = slices;
    let segmentation = Segmentation {
        slices: labels,
        no_reflow: true,
        scar_source: ScarSource::Dense,
        models: vec![],
        provider: "cpu".into(),
        timings: vec![],
    };
    (stack, segmentation)
}

fn time<T>(name: &str, mut work: impl FnMut() -> T) -> T {
    let mut last = work();
    let mut best = f64::INFINITY;
    let start = Instant::now();
    for _ in 0..REPEATS {
        let one = Instant::now();
        last = work();
        best = best.min(one.elapsed().as_secs_f64() * 1000.0);
    }
    let mean = start.elapsed().as_secs_f64() * 1000.0 / f64::from(REPEATS);
    println!("{name:<44} mean {mean:>7.2} ms   best {best:>7.2} ms");
    last
}

fn main() {
    let study = Study::build(&StudySpec::new(Spec::new(SeedSpace::Evaluation, 6)).phases(1)).unwrap();
    let (template, _) = handover::exact(&study).unwrap();
    let (stack, labels) = heart(&template);
    let settings = config::load(&[]).unwrap().quantify;
    let (_, measures) =
        time("quantify, 12 x 256 x 256", || quantify::measure(&stack, labels.clone(), &settings).unwrap());
    assert!(measures.segments.segments.iter().all(|segment| segment.transmurality.value().is_some()));
    time("bullseye, pixels", || bullseye::canvas(&measures));
}
