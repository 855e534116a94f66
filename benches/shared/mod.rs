//! What benches share: a drawn heart of any number of slices, and a clock.
#![allow(dead_code)]

use std::time::Instant;

use ndarray::Array2;
use scargate::cli::handover;
use scargate::domain::labels::{Label, Segmentation, SliceLabels};
use scargate::domain::stack::Stack;
use scargate::phantom::study::{Study, StudySpec};
use scargate::phantom::{SeedSpace, Spec};

/// Rows and columns of the heart's slices.
pub const SIDE: usize = 256;
const REPEATS: usize = 40;

/// Rings that narrow toward the apex, a third of the wall scar, in the planes of a phantom, 8 mm apart.
pub fn heart(slices: usize) -> (Stack, Segmentation) {
    let study = Study::build(&StudySpec::new(Spec::new(SeedSpace::Evaluation, 6)).phases(1)).unwrap();
    let (mut stack, mut segmentation) = handover::exact(&study).unwrap();
    let template = stack.slices[0].clone();
    (stack.slices, segmentation.slices) = (0..slices)
        .map(|index| {
            let labels = ring(1.0 - 0.6 * (index as f64 / slices as f64).powi(2));
            let mut slice = template.clone();
            slice.pixels = labels.mapv(|label| [20.0, 100.0, 0.0, 120.0, 5.0][usize::from(label)])
                + Array2::from_shape_fn((SIDE, SIDE), |(r, c)| ((r * 7 + c * 3) % 5) as f32);
            let normal = slice.plane.normal();
            slice.plane.position_mm =
                std::array::from_fn(|k| slice.plane.position_mm[k] + 8.0 * index as f64 * normal[k]);
            let scar = labels.mapv(|label| label >= Label::Scar as u8);
            let (scar_inner, scar_outer) = (scar.clone(), scar);
            (slice, SliceLabels { labels, scar_inner, scar_outer, boxes: vec![], entropy: None, agreement: 1.0 })
        })
        .unzip();
    (stack, segmentation)
}

fn ring(taper: f64) -> Array2<u8> {
    Array2::from_shape_fn((SIDE, SIDE), |(r, c)| {
        let (y, x) = (r as f64 - 128.0, c as f64 - 128.0);
        let label = match x.hypot(y) {
            radius if radius < 20.0 * taper => Label::Cavity,
            radius if radius > 20.0 * taper + 8.0 => Label::Background,
            radius if x > 6.0 && radius < 20.0 * taper + 5.0 => Label::Scar,
            _ => Label::Myocardium,
        };
        label as u8
    })
}

/// Time of this thread on a CPU, ms: what else runs on the machine counts less in it than in wall time.
fn cpu_ms() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e6
}

/// Prints the heads of the columns of `time`.
pub fn head() {
    println!("{:<44} {:>9} {:>9} {:>9}", "ms", "median", "worst", "mean CPU");
}

/// Runs some work once to warm up and `REPEATS` times; prints median and worst of the wall time, the mean of the CPU time, which
/// the kernel counts in coarse steps, and gives the last result.
pub fn time<T>(name: &str, mut work: impl FnMut() -> T) -> T {
    let mut last = work();
    let before = cpu_ms();
    let mut wall: Vec<f64> = Vec::new();
    for _ in 0..REPEATS {
        let start = Instant::now();
        last = work();
        wall.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let cpu = (cpu_ms() - before) / REPEATS as f64;
    wall.sort_by(f64::total_cmp);
    println!("{name:<44} {:>9.2} {:>9.2} {cpu:>9.2}", wall[REPEATS / 2], wall[REPEATS - 1]);
    last
}
