//! One model in ONNX Runtime: loaded from checked bytes, its ports compared with the manifest, its provider proven, its
//! stored probe repeated.

use super::detector::{self, Layout};
use super::error::InferError;
use super::manifest::{Contract, Manifest, MaskSelect, Role};
use super::onnx;
use super::runtime::{self, Runtime};
use crate::config::Provider;
use half::f16;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{Outlet, TensorElementType, TensorRef};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How sessions are made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Providers in order of preference.
    pub providers: Vec<Provider>,
    /// Provider that must be proven in use.
    pub require: Provider,
    /// Device number of accelerators.
    pub device: u32,
    /// Threads of one forward pass.
    pub threads: usize,
}

/// A tensor on its way in or out; half-precision ports are converted at the session's edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor whose element count fits its shape.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Option<Self> {
        let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        (count == data.len()).then_some(Self { shape, data })
    }
}

/// An input or output of the graph.
#[derive(Debug, Clone)]
pub struct Port {
    /// Name.
    pub name: String,
    /// True for half precision.
    half: bool,
    /// Dimensions; below 0 = not fixed.
    pub dims: Vec<i64>,
}

/// Nodes per provider in a profiled run.
pub type Placement = BTreeMap<String, Share>;

/// Nodes of one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// All.
    pub nodes: usize,
    /// Convolutions and matrix products: where the time goes.
    pub heavy: usize,
}

/// A loaded model.
pub struct Model {
    /// Its manifest.
    pub manifest: Manifest,
    session: Mutex<Session>,
    /// Inputs of the graph.
    pub inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// Provider proven in use.
    pub provider: Provider,
    /// Nodes per provider.
    pub placement: Placement,
    /// Size of the ONNX file, bytes.
    pub bytes: usize,
    /// Time to load, ms.
    pub load_ms: f64,
    /// Time of the probe's forward pass, ms (the first, so with the allocations of a first run).
    pub probe_ms: f64,
    /// Largest difference to the stored output over its largest value.
    pub probe_difference: f64,
}

impl Model {
    /// Loads a model: digest, self-containedness, ports, probe, provider.
    ///
    /// # Errors
    /// Any [`InferError`] but `Library`; the model cannot be used then.
    pub fn load(runtime: &Runtime, manifest: Manifest, options: &Options) -> Result<Self, InferError> {
        let folder =
            tempfile::tempdir().map_err(|error| InferError::Load { role: manifest.role, text: error.to_string() })?;
        let mut model = Self::open_in(runtime, manifest, options, folder.path())?;
        model.repeat_probe()?;
        model.placement = model.end_profile()?;
        model.provider = proven(model.manifest.role, &model.placement, options)?;
        Ok(model)
    }

    /// Opens a model whose probe is not known yet: digest, self-containedness, ports.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn open(runtime: &Runtime, manifest: Manifest, options: &Options) -> Result<Self, InferError> {
        let folder =
            tempfile::tempdir().map_err(|error| InferError::Load { role: manifest.role, text: error.to_string() })?;
        let model = Self::open_in(runtime, manifest, options, folder.path())?;
        // Nothing ran, so the profile says nothing; it only has to end.
        let _ = model.end_profile();
        Ok(model)
    }

    /// Opens a model; its profile goes into the folder.
    fn open_in(runtime: &Runtime, manifest: Manifest, options: &Options, folder: &Path) -> Result<Self, InferError> {
        let start = Instant::now();
        let role = manifest.role;
        let bytes = onnx::read_model(&manifest)?;
        let prefix = folder.join("profile");
        let session = open(runtime, &bytes, options, &prefix).map_err(|fault| match fault {
            Fault::Infer(error) => error,
            Fault::Ort(text) => InferError::Load { role, text },
        })?;
        let inputs = ports(role, session.inputs())?;
        let outputs = ports(role, session.outputs())?;
        let mut model = Self {
            manifest,
            session: Mutex::new(session),
            inputs,
            outputs,
            provider: options.require,
            placement: Placement::new(),
            bytes: bytes.len(),
            load_ms: 0.0,
            probe_ms: 0.0,
            probe_difference: 0.0,
        };
        check_ports(&model)?;
        model.load_ms = millis(start);
        Ok(model)
    }

    /// Runs the graph.
    ///
    /// # Errors
    /// [`InferError::Contract`] when an input is unknown or an output has another type or shape than a tensor of finite
    /// size; [`InferError::Run`] when ONNX Runtime fails.
    pub fn run(&self, feeds: &[(&str, &Tensor)], wanted: &[&str]) -> Result<Vec<Tensor>, InferError> {
        let role = self.manifest.role;
        let batch = feeds.first().and_then(|(_, tensor)| tensor.shape.first().copied()).unwrap_or_default();
        let _span = tracing::info_span!("model", role = role.name(), batch, provider = self.provider.name()).entered();
        let failed = |error: ort::Error| InferError::Run { role, text: error.to_string() };
        let halves: Vec<Vec<f16>> = feeds
            .iter()
            .map(|(name, tensor)| {
                let half = self.inputs.iter().any(|port| port.name == *name && port.half);
                if half { tensor.data.iter().map(|v| f16::from_f32(*v)).collect() } else { Vec::new() }
            })
            .collect();
        let mut values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(feeds.len());
        for ((name, tensor), half) in feeds.iter().zip(&halves) {
            let value: SessionInputValue<'_> = if half.is_empty() {
                TensorRef::from_array_view((tensor.shape.clone(), tensor.data.as_slice())).map_err(failed)?.into()
            } else {
                TensorRef::from_array_view((tensor.shape.clone(), half.as_slice())).map_err(failed)?.into()
            };
            values.push((Cow::Borrowed(*name), value));
        }
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(values).map_err(failed)?;
        let mut out = Vec::with_capacity(wanted.len());
        for name in wanted {
            let value = outputs.get(name).ok_or_else(|| InferError::Contract {
                role,
                expected: format!("output `{name}`"),
                found: "no such output".to_owned(),
            })?;
            let (shape, data) = match value.try_extract_tensor::<f32>() {
                Ok((shape, data)) => (shape.clone(), data.to_vec()),
                Err(_) => {
                    let (shape, data) = value.try_extract_tensor::<f16>().map_err(failed)?;
                    (shape.clone(), data.iter().map(|v| v.to_f32()).collect())
                }
            };
            let shape: Vec<usize> = shape.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
            out.push(Tensor::new(shape.clone(), data).ok_or_else(|| InferError::Contract {
                role,
                expected: format!("output `{name}` as a dense tensor"),
                found: format!("shape {shape:?}"),
            })?);
        }
        Ok(out)
    }

    /// An input by name.
    pub fn input(&self, name: &str) -> Option<&Port> {
        self.inputs.iter().find(|port| port.name == name)
    }

    /// An output by name.
    pub fn output(&self, name: &str) -> Option<&Port> {
        self.outputs.iter().find(|port| port.name == name)
    }

    /// Names of all outputs, in the order of the graph.
    pub fn output_names(&self) -> Vec<String> {
        self.outputs.iter().map(|port| port.name.clone()).collect()
    }

    /// Images per forward pass at most: the graph's fixed batch, or what the caller wants.
    pub fn batch(&self, wanted: usize) -> usize {
        let fixed = self.input(&self.manifest.input.name).and_then(|port| port.dims.first().copied());
        match fixed.and_then(|dim| usize::try_from(dim).ok()) {
            Some(dim) if dim > 0 => dim,
            _ => wanted.max(1),
        }
    }

    /// Runs the stored probe and compares.
    ///
    /// # Errors
    /// [`InferError::Probe`] when the answer is another one, or what reading and running give.
    pub fn repeat_probe(&mut self) -> Result<(), InferError> {
        let probe = &self.manifest.probe;
        let folder = &self.manifest.folder;
        let inputs = super::probe::read(folder, &probe.input, &probe.inputs)?;
        let expected = super::probe::read(folder, &probe.output, &probe.outputs)?;
        let feeds: Vec<(&str, &Tensor)> =
            probe.inputs.iter().zip(&inputs).map(|(tensor, value)| (tensor.name.as_str(), value)).collect();
        let wanted: Vec<&str> = probe.outputs.iter().map(|tensor| tensor.name.as_str()).collect();
        let start = Instant::now();
        let found = self.run(&feeds, &wanted)?;
        self.probe_ms = millis(start);
        self.probe_difference = super::probe::difference(&found, &expected);
        if self.probe_difference > probe.tolerance {
            return Err(InferError::Probe {
                role: self.manifest.role,
                difference: self.probe_difference,
                allowed: probe.tolerance,
            });
        }
        Ok(())
    }

    fn end_profile(&self) -> Result<Placement, InferError> {
        let role = self.manifest.role;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let file = session.end_profiling().map_err(|error| InferError::Load { role, text: error.to_string() })?;
        let text = std::fs::read_to_string(&file)
            .map_err(|error| InferError::Provider(format!("the profile that proves the provider: {error}")))?;
        placement(&text).ok_or_else(|| {
            InferError::Provider("ONNX Runtime's profile is not readable: the provider cannot be proven".to_owned())
        })
    }
}

/// Milliseconds since a moment.
pub fn millis(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

enum Fault {
    Infer(InferError),
    Ort(String),
}

impl<R> From<ort::Error<R>> for Fault {
    fn from(error: ort::Error<R>) -> Self {
        Self::Ort(error.to_string())
    }
}

fn open(runtime: &Runtime, bytes: &[u8], options: &Options, profile: &std::path::Path) -> Result<Session, Fault> {
    let providers = runtime::dispatches(runtime, &options.providers, options.device).map_err(Fault::Infer)?;
    let accelerated = options.providers.iter().any(|p| *p != Provider::Cpu);
    let registration = |error: ort::Error<_>| {
        let error: ort::Error<ort::session::builder::SessionBuilder> = error;
        if accelerated {
            Fault::Infer(InferError::Provider(format!("a provider failed to start: {error}")))
        } else {
            Fault::Ort(error.to_string())
        }
    };
    Ok(Session::builder(&runtime.environment)?
        .with_execution_providers(providers)
        .map_err(registration)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(options.threads)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        // Spinning threads take the other workers' cores on a shared machine.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        // Batches vary, so planned memory would be planned again for each.
        .with_memory_pattern(false)?
        .with_profiling(profile)?
        .commit_from_memory(bytes)?)
}

fn ports(role: Role, outlets: &[Outlet]) -> Result<Vec<Port>, InferError> {
    outlets
        .iter()
        .map(|outlet| {
            let wrong = |found: String| InferError::Contract {
                role,
                expected: format!("`{}` as a tensor of f32 or f16", outlet.name()),
                found,
            };
            let ty = outlet.dtype().tensor_type().ok_or_else(|| wrong("not a tensor".to_owned()))?;
            let half = match ty {
                TensorElementType::Float32 => false,
                TensorElementType::Float16 => true,
                other => return Err(wrong(format!("a tensor of {other:?}"))),
            };
            let dims = outlet.dtype().tensor_shape().map(|shape| shape.to_vec()).unwrap_or_default();
            Ok(Port { name: outlet.name().to_owned(), half, dims })
        })
        .collect()
}

fn listing(ports: &[Port]) -> String {
    let words: Vec<String> = ports.iter().map(|port| format!("`{}` {:?}", port.name, port.dims)).collect();
    words.join(", ")
}

/// Compares the graph's ports with the manifest.
fn check_ports(model: &Model) -> Result<(), InferError> {
    let manifest = &model.manifest;
    let role = manifest.role;
    match &manifest.contract {
        Contract::Dense { output, .. } => {
            check_image_input(model)?;
            let size = manifest.input.size;
            let classes = super::manifest::DENSE_CLASSES.len();
            check_output(model, output, &[None, Some(classes), Some(size), Some(size)])
        }
        Contract::Detector { output, .. } => {
            check_image_input(model)?;
            check_output(model, output, &[None, None, None])?;
            let layout = layout(manifest);
            let dims = model.output(output).map(|port| port.dims.clone()).unwrap_or_default();
            match layout {
                Some(layout) if detector::shape_fits(&layout, &dims) => Ok(()),
                Some(layout) => Err(InferError::Contract {
                    role,
                    expected: format!("output `{output}` {}", detector::expected_shape(&layout)),
                    found: format!("{dims:?}"),
                }),
                None => Ok(()),
            }
        }
        Contract::Encoder { output } => {
            check_image_input(model)?;
            check_output(model, output, &[None, None, None, None])
        }
        Contract::Decoder { masks, low_res, select, .. } => {
            check_prompt_inputs(model)?;
            check_output(model, masks, &[None, None, None, None])?;
            if let Some(low_res) = low_res {
                check_output(model, low_res, &[None, None, None, None])?;
            }
            if *select == MaskSelect::BestIou {
                let name = super::sam::iou_output(model).unwrap_or("iou_predictions");
                check_output(model, name, &[None, None])?;
            }
            Ok(())
        }
    }
}

/// The detector's layout, from the manifest.
pub fn layout(manifest: &Manifest) -> Option<Layout> {
    let Contract::Detector { classes, scar, confidence, iou, max_detections, .. } = manifest.contract else {
        return None;
    };
    let size = manifest.input.size;
    Some(Layout { format: manifest.format, classes, scar, size, confidence, iou, most: max_detections })
}

fn check_image_input(model: &Model) -> Result<(), InferError> {
    let input = &model.manifest.input;
    let wanted = [None, Some(input.channels), Some(input.size), Some(input.size)];
    match model.inputs.as_slice() {
        [port] if port.name == input.name && fits(&port.dims, &wanted) => Ok(()),
        found => Err(InferError::Contract {
            role: model.manifest.role,
            expected: format!("one input `{}` [batch, {}, {}, {}]", input.name, input.channels, input.size, input.size),
            found: listing(found),
        }),
    }
}

/// Known inputs of a segment-anything decoder and their ranks; the first three are needed.
const PROMPT_INPUTS: [(&str, usize); 5] =
    [("point_coords", 3), ("point_labels", 2), ("mask_input", 4), ("has_mask_input", 1), ("orig_im_size", 1)];

fn check_prompt_inputs(model: &Model) -> Result<(), InferError> {
    let input = &model.manifest.input;
    let wrong = || InferError::Contract {
        role: model.manifest.role,
        expected: format!(
            "inputs `{}` [1, {}, {}, {}], point_coords [1, N, 2], point_labels [1, N] and, of those a decoder may have, \
             mask_input, has_mask_input, orig_im_size",
            input.name, input.channels, input.size, input.size
        ),
        found: listing(&model.inputs),
    };
    let embedding = model.input(&input.name).ok_or_else(wrong)?;
    if !fits(&embedding.dims, &[None, Some(input.channels), Some(input.size), Some(input.size)]) {
        return Err(wrong());
    }
    for port in model.inputs.iter().filter(|port| port.name != input.name) {
        let rank = PROMPT_INPUTS.iter().find(|(name, _)| *name == port.name).map(|(_, rank)| *rank);
        if rank != Some(port.dims.len()) {
            return Err(wrong());
        }
    }
    if model.input("point_coords").is_none() || model.input("point_labels").is_none() {
        return Err(wrong());
    }
    Ok(())
}

fn check_output(model: &Model, name: &str, wanted: &[Option<usize>]) -> Result<(), InferError> {
    match model.output(name) {
        Some(port) if fits(&port.dims, wanted) => Ok(()),
        _ => Err(InferError::Contract {
            role: model.manifest.role,
            expected: format!("output `{name}` of rank {}{}", wanted.len(), in_words(wanted)),
            found: listing(&model.outputs),
        }),
    }
}

fn in_words(wanted: &[Option<usize>]) -> String {
    if wanted.iter().all(Option::is_none) {
        return String::new();
    }
    let words: Vec<String> = wanted.iter().map(|d| d.map_or("any".to_owned(), |d| d.to_string())).collect();
    format!(" [{}]", words.join(", "))
}

fn fits(dims: &[i64], wanted: &[Option<usize>]) -> bool {
    dims.len() == wanted.len()
        && dims.iter().zip(wanted).all(|(dim, wanted)| match (usize::try_from(*dim), wanted) {
            (Ok(dim), Some(wanted)) if dim > 0 => dim == *wanted,
            _ => true,
        })
}

/// Operators that an accelerator must run itself.
fn is_heavy(operator: &str) -> bool {
    ["Conv", "Gemm", "MatMul", "Attention"].iter().any(|name| operator.contains(name))
}

/// Nodes per provider in ONNX Runtime's profile (Chrome trace events; those of category `Node` that name a provider).
fn placement(profile: &str) -> Option<Placement> {
    let events: serde_json::Value = serde_json::from_str(profile).ok()?;
    let text =
        |event: &serde_json::Value, at: &str| event.pointer(at).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    let mut nodes: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    for event in events.as_array()? {
        let provider = text(event, "/args/provider");
        if text(event, "/cat") == "Node" && !provider.is_empty() {
            let heavy = is_heavy(&text(event, "/args/op_name"));
            nodes.entry(provider).or_default().insert(text(event, "/name"), heavy);
        }
    }
    let share = |names: BTreeMap<String, bool>| Share {
        nodes: names.len(),
        heavy: names.values().filter(|heavy| **heavy).count(),
    };
    Some(nodes.into_iter().map(|(provider, names)| (provider, share(names))).collect())
}

/// The provider that did the work: it ran most nodes, and every convolution and matrix product. Shape arithmetic stays
/// on the CPU by design; when the network itself does, a fall-back has happened.
fn proven(role: Role, placement: &Placement, options: &Options) -> Result<Provider, InferError> {
    let on = |provider: Provider| placement.get(runtime::ort_name(provider)).copied().unwrap_or_default();
    let all_heavy: usize = placement.values().map(|share| share.heavy).sum();
    let required = on(options.require);
    let most = options.providers.iter().all(|p| on(*p).nodes <= required.nodes);
    if required.nodes > 0 && most && required.heavy == all_heavy {
        return Ok(options.require);
    }
    let words: Vec<String> =
        placement.iter().map(|(name, share)| format!("{name} {} ({} heavy)", share.nodes, share.heavy)).collect();
    Err(InferError::Provider(format!(
        "{role}: infer.require = \"{}\", but the probe's nodes ran on: {}",
        options.require.name(),
        if words.is_empty() { "no provider that was named".to_owned() } else { words.join(", ") }
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(require: Provider) -> Options {
        Options { providers: vec![Provider::Cuda, Provider::Cpu], require, device: 0, threads: 1 }
    }

    const PROFILE: &str = r#"[
        {"cat":"Session","name":"model_loading","args":{}},
        {"cat":"Node","name":"a_kernel_time","args":{"provider":"CUDAExecutionProvider","op_name":"Conv"}},
        {"cat":"Node","name":"a_kernel_time","args":{"provider":"CUDAExecutionProvider","op_name":"Conv"}},
        {"cat":"Node","name":"b_kernel_time","args":{"provider":"CUDAExecutionProvider","op_name":"Relu"}},
        {"cat":"Node","name":"c_kernel_time","args":{"provider":"CPUExecutionProvider","op_name":"Shape"}}]"#;

    #[test]
    fn the_provider_is_the_one_that_ran_the_network() {
        let found = placement(PROFILE).unwrap_or_default();
        assert_eq!(found.get("CUDAExecutionProvider"), Some(&Share { nodes: 2, heavy: 1 }));
        assert_eq!(found.get("CPUExecutionProvider"), Some(&Share { nodes: 1, heavy: 0 }));
        assert!(matches!(proven(Role::Myocardium, &found, &options(Provider::Cuda)), Ok(Provider::Cuda)));
        assert!(proven(Role::Myocardium, &found, &options(Provider::Cpu)).is_err());
        assert!(placement("not json").is_none());
    }

    #[test]
    fn a_fall_back_is_not_proof() {
        let share = |nodes, heavy| Share { nodes, heavy };
        let all_on_cpu = Placement::from([("CPUExecutionProvider".to_owned(), share(90, 20))]);
        assert!(proven(Role::Myocardium, &all_on_cpu, &options(Provider::Cuda)).is_err());
        assert!(matches!(proven(Role::Myocardium, &all_on_cpu, &options(Provider::Cpu)), Ok(Provider::Cpu)));
        let one_conv_on_cpu = Placement::from([
            ("CUDAExecutionProvider".to_owned(), share(90, 20)),
            ("CPUExecutionProvider".to_owned(), share(3, 1)),
        ]);
        assert!(proven(Role::Myocardium, &one_conv_on_cpu, &options(Provider::Cuda)).is_err());
        assert!(proven(Role::Myocardium, &Placement::new(), &options(Provider::Cpu)).is_err());
    }
}
