//! Where the time of a study goes: each stage on a synthetic study, wall and CPU time, and the peak memory.
//!
//! `cargo bench --bench stages` (release) or `--profile dev`. Peers' time is not in it: `scargate runs show` tells the
//! steps of a run on real servers. `SCARGATE_ORT_LIBRARY` names the library of ONNX Runtime, `SCARGATE_SCAR_SOURCE=sam` runs
//! detector and promptable model too.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use scargate::analysis::{self, RunFacts};
use scargate::cli::handover;
use scargate::config::{self, Config};
use scargate::domain::labels::ScarSource;
use scargate::domain::run::RunId;
use scargate::domain::source::SourceObject;
use scargate::encode;
use scargate::encode::object::Context;
use scargate::infer::Engine;
use scargate::phantom::study::{Study, StudySpec};
use scargate::phantom::{SeedSpace, Spec};
use scargate::quantify;
use time::OffsetDateTime;

const REPEATS: u32 = 5;
/// Clock ticks of /proc/self/stat, USER_HZ.
const TICK_MS: f64 = 10.0;

/// User and system time of this process, ms.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * TICK_MS
}

/// A line of /proc/self/status in MiB.
fn memory_mib(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn measure<T>(name: &str, repeats: u32, mut work: impl FnMut() -> T) -> T {
    let mut last = work();
    let (wall, cpu) = (Instant::now(), cpu_ms());
    for _ in 0..repeats {
        last = work();
    }
    let per = f64::from(repeats);
    println!("{name:<44} {:>9.1} {:>9.1}", wall.elapsed().as_secs_f64() * 1000.0 / per, (cpu_ms() - cpu) / per);
    last
}

fn configuration() -> Config {
    let mut config = config::load(&[]).unwrap();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    config.infer.models = root.join("models");
    config.infer.library = std::env::var("SCARGATE_ORT_LIBRARY")
        .map_or_else(|_| root.join(".scargate/onnxruntime/libonnxruntime.so"), PathBuf::from);
    if std::env::var("SCARGATE_SCAR_SOURCE").as_deref() == Ok("sam") {
        config.infer.scar_source = ScarSource::Sam;
    }
    config
}

fn main() {
    let config = configuration();
    let spec = StudySpec::new(Spec::new(SeedSpace::Evaluation, 6));
    let study = Study::build(&spec).unwrap();
    let objects: Vec<SourceObject> =
        study.instances.iter().map(|i| SourceObject::Memory(Bytes::from(i.to_bytes().unwrap()))).collect();
    let context = Context {
        revision: 1,
        act: String::new(),
        created: OffsetDateTime::UNIX_EPOCH,
        device_serial: "bench".into(),
        series_number: 1,
    };

    println!("{:<44} {:>9} {:>9}", "stage", "wall ms", "CPU ms");
    let engine = measure("load models (with their probes)", 1, || Engine::load(&config.infer).unwrap());
    let warm = memory_mib("VmRSS");
    let selection = measure("select the stack and decode (whole study)", REPEATS, || {
        analysis::select(&objects, &engine, &config).unwrap()
    });
    let stack = selection.stack;
    let drawn = measure("infer, all models and own work around them", 2, || engine.segment(&stack, &|_| {}).unwrap());
    for timing in &drawn.timings {
        println!("  of which forward passes: {:<17} {:>9.1}   ({} runs)", timing.role, timing.wall_ms, timing.runs);
    }
    measure("quantify", REPEATS, || quantify::measure(&stack, drawn.clone(), &config.quantify).unwrap());
    let facts = RunFacts {
        run: RunId::new(),
        revision: 1,
        created: OffsetDateTime::UNIX_EPOCH,
        input_digest: selection.digest.clone(),
        outdated: Vec::new(),
    };
    measure("the whole analysis (infer to all artefacts)", 1, || {
        analysis::analyse(stack.clone(), &engine, &config, &facts, &|_| {}).unwrap()
    });
    let (exact_stack, exact_labels) = handover::exact(&study).unwrap();
    measure("encode SEG, this study", REPEATS, || encode::seg::encode(&exact_stack, &exact_labels, &context).unwrap());
    println!(
        "\n{} slices of {:?}; resident after loading {warm:.0} MiB, peak {:.0} MiB",
        stack.slices.len(),
        stack.dim(),
        memory_mib("VmHWM")
    );
}
