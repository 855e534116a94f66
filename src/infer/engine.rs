//! The way from a stack to labels: which model sees what, in which order, and how their answers become one.

use super::dense;
use super::detector::{self, Detections};
use super::error::InferError;
use super::locate;
use super::manifest::{Contract, IntensityScope, Role};
use super::mask;
use super::preprocess::{self, Region, Window};
use super::probe;
use super::runtime::Runtime;
use super::sam::{self, Contoured, Logits};
use super::session::{self, Model, Options, Tensor, millis};
use crate::config::{Infer, Provider};
use crate::domain::labels::{Label, LesionBox, ModelTiming, ScarSource, Segmentation, SliceLabels};
use crate::domain::provenance::ModelRef;
use crate::domain::stack::{Contrast, Stack};
use crate::failure::{Code, Failure};
use ndarray::Array2;
use std::time::Instant;

/// What the engine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Whole slices: where is the ventricle.
    Locate,
    /// Cavity and wall on the crop.
    Myocardium,
    /// Lesion boxes.
    Detect,
    /// Embedding and masks.
    Segment,
}

impl Stage {
    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Locate => "locate",
            Self::Myocardium => "myocardium",
            Self::Detect => "detect",
            Self::Segment => "segment",
        }
    }
}

/// How far a segmentation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// Slices of the stage that are done.
    pub done: usize,
    /// Slices of the stage.
    pub total: usize,
}

/// The promptable part of the engine.
struct Prompted {
    detector: Model,
    encoder: Model,
    decoder: Model,
}

/// Loaded models, shared by all workers of a process. A forward pass holds its model's lock, so workers take turns per
/// model; call from threads made for it, never from an async executor.
pub struct Engine {
    runtime: Runtime,
    wall: Model,
    prompted: Option<Prompted>,
    batch: usize,
    provider: Provider,
}

/// Session options of a configuration.
pub fn options(config: &Infer) -> Options {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if config.threads == 0 { cores } else { config.threads };
    Options { providers: config.providers.clone(), require: config.require, device: config.device, threads }
}

impl Engine {
    /// Loads the models of the configuration, checks them and runs each on its probe. With `scar_source = "dense"` only
    /// the myocardium model is needed.
    ///
    /// # Errors
    /// `config-invalid` (no library), `provider-missing`, `model-invalid`.
    pub fn load(config: &Infer) -> Result<Self, Failure> {
        let runtime = Runtime::load(&config.library)?;
        let options = options(config);
        let load = |role: Role| -> Result<Model, InferError> {
            Model::load(&runtime, probe::read_role(&config.models, role)?, &options)
        };
        let wall = load(Role::Myocardium)?;
        let prompted = match config.scar_source {
            ScarSource::Dense => None,
            ScarSource::Sam => Some(Prompted {
                detector: load(Role::ScarDetector)?,
                encoder: load(Role::ScarEncoder)?,
                decoder: load(Role::ScarDecoder)?,
            }),
        };
        let engine = Self { runtime, wall, prompted, batch: config.batch, provider: options.require };
        engine.check_fit()?;
        Ok(engine)
    }

    /// Refuses models that were not made for one another.
    fn check_fit(&self) -> Result<(), InferError> {
        let factor = self.wall.manifest.input.crop_factor;
        for model in self.all() {
            if (model.manifest.input.crop_factor - factor).abs() > 1e-9 {
                return Err(InferError::Mismatch(format!(
                    "{} was trained on crops of factor {}, the myocardium model gives {factor}",
                    model.manifest.role, model.manifest.input.crop_factor
                )));
            }
        }
        if self.accepted_contrasts().is_empty() {
            return Err(InferError::Mismatch("the models have no contrast in common".to_owned()));
        }
        let Some(prompted) = &self.prompted else { return Ok(()) };
        let Contract::Encoder { output } = &prompted.encoder.manifest.contract else { return Ok(()) };
        let dims = prompted.encoder.output(output).map(|port| port.dims.clone()).unwrap_or_default();
        let wanted = &prompted.decoder.manifest.input;
        let expected = [wanted.channels, wanted.size, wanted.size];
        let fits = dims.iter().skip(1).zip(expected).all(|(dim, want)| *dim <= 0 || usize::try_from(*dim) == Ok(want));
        if !fits {
            return Err(InferError::Mismatch(format!(
                "the encoder gives embeddings {dims:?}, the decoder takes [1, {}, {}, {}]",
                wanted.channels, wanted.size, wanted.size
            )));
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &Model> {
        let more = self.prompted.iter().flat_map(|p| [&p.detector, &p.encoder, &p.decoder]);
        std::iter::once(&self.wall).chain(more)
    }

    /// The models, in the order of a run.
    pub fn models(&self) -> Vec<ModelRef> {
        self.all().map(|model| model.manifest.model_ref()).collect()
    }

    /// Contrasts that every model accepts.
    pub fn accepted_contrasts(&self) -> Vec<Contrast> {
        let mut accepted = self.wall.manifest.contrasts.clone();
        accepted.retain(|contrast| self.all().all(|model| model.manifest.contrasts.contains(contrast)));
        accepted
    }

    /// What of the models and of this configuration can change a result: parts of the pipeline version.
    pub fn version_parts(&self) -> Vec<String> {
        let mut parts = vec![
            format!("scargate {}", env!("CARGO_PKG_VERSION")),
            format!("onnxruntime {}", self.ort_version()),
            format!("provider {}", self.provider()),
            format!("scar-source {}", if self.prompted.is_some() { "sam" } else { "dense" }),
        ];
        parts.extend(self.all().map(|model| format!("{} {}", model.manifest.role, model.manifest.digest)));
        parts
    }

    /// Version of ONNX Runtime.
    pub fn ort_version(&self) -> String {
        self.runtime.version()
    }

    /// Execution provider that every model was proven to run on.
    pub fn provider(&self) -> &'static str {
        self.provider.name()
    }

    /// Draws labels on every slice of a stack. Blocking; the same stack gives the same labels.
    ///
    /// # Errors
    /// `contrast-not-supported`, `no-myocardium` (rejected), `inference-failed`, `model-invalid`.
    pub fn segment(&self, stack: &Stack, progress: &dyn Fn(Progress)) -> Result<Segmentation, Failure> {
        if !self.accepted_contrasts().contains(&stack.contrast) {
            let text = format!("the models accept no {} images", stack.contrast.name());
            return Err(Failure::rejected(Code::ContrastNotSupported, text));
        }
        let dim = stack.dim();
        if dim.0 == 0 || dim.1 == 0 || stack.slices.iter().any(|slice| slice.pixels.dim() != dim) {
            return Err(Failure::rejected(Code::PixelDataInvalid, "slices of the stack differ in size or are empty"));
        }
        let mut run = Run { engine: self, stack, progress, timings: Vec::new() };
        let slices = run.slices()?;
        Ok(Segmentation {
            slices,
            no_reflow: true,
            scar_source: if self.prompted.is_some() { ScarSource::Sam } else { ScarSource::Dense },
            models: self.models(),
            provider: self.provider().to_owned(),
            timings: run.timings,
        })
    }
}

/// One segmentation under way.
struct Run<'a> {
    engine: &'a Engine,
    stack: &'a Stack,
    progress: &'a dyn Fn(Progress),
    timings: Vec<ModelTiming>,
}

impl Run<'_> {
    fn slices(&mut self) -> Result<Vec<SliceLabels>, Failure> {
        let wall = &self.engine.wall;
        let size = wall.manifest.input.size;
        let dim = self.stack.dim();
        let region = self.locate()?;
        let planes = self.classes(Stage::Myocardium, &region)?;
        let mut labels: Vec<Array2<u8>> = planes.iter().map(|p| dense::labels(p, &region, dim, size)).collect();
        locate::keep_heart(&mut labels);
        let rings: Vec<usize> = (0..labels.len())
            .filter(|i| labels.get(*i).is_some_and(|l| l.iter().any(|v| *v >= Label::Myocardium as u8)))
            .collect();
        if rings.is_empty() {
            return Err(Failure::rejected(Code::NoMyocardium, "no slice shows a ring of myocardium"));
        }
        let prompted = match &self.engine.prompted {
            Some(models) => Some(self.prompted(models, &region, &rings, &labels)?),
            None => None,
        };
        let mut lesions = prompted.unwrap_or_default().into_iter();
        let mut out = Vec::with_capacity(labels.len());
        for (index, (planes, labels)) in planes.iter().zip(labels).enumerate() {
            let lesion = if rings.contains(&index) { lesions.next() } else { None };
            out.push(self.compose(planes, labels, &region, lesion));
        }
        Ok(out)
    }

    /// The LV crop of the stack.
    fn locate(&mut self) -> Result<Region, Failure> {
        let input = &self.engine.wall.manifest.input;
        let dim = self.stack.dim();
        let whole = Region::whole(dim, input.geometry);
        let planes = self.classes(Stage::Locate, &whole)?;
        let mut labels: Vec<Array2<u8>> = planes.iter().map(|p| dense::labels(p, &whole, dim, input.size)).collect();
        locate::keep_heart(&mut labels);
        locate::crop_of(&labels, input.crop_factor)
            .ok_or_else(|| Failure::rejected(Code::NoMyocardium, "no slice shows a ring of myocardium"))
    }

    /// Class probabilities [classes, size, size] of every slice, seen through one region.
    fn classes(&mut self, stage: Stage, region: &Region) -> Result<Vec<Vec<f32>>, Failure> {
        let wall = &self.engine.wall;
        let Contract::Dense { output, activation } = &wall.manifest.contract else {
            return Err(InferError::Mismatch("the myocardium model is not dense".to_owned()).into());
        };
        let all: Vec<usize> = (0..self.stack.slices.len()).collect();
        let size = wall.manifest.input.size;
        let wanted = [dense::CLASSES, size, size];
        let mut found = Vec::with_capacity(all.len());
        for mut tensor in self.images(wall, stage, region, &all, output)? {
            let text = "logits that are not finite".to_owned();
            if tensor.shape != wanted || !dense::activate(&mut tensor.data, *activation) {
                let found = if tensor.shape == wanted { text } else { format!("{:?}", tensor.shape) };
                let expected = format!("output `{output}` [batch, {}, {size}, {size}]", dense::CLASSES);
                return Err(InferError::Contract { role: Role::Myocardium, expected, found }.into());
            }
            found.push(tensor.data);
        }
        Ok(found)
    }

    /// Runs an image model on some slices, in batches of this study only; one tensor (without batch axis) per slice.
    fn images(
        &mut self,
        model: &Model,
        stage: Stage,
        region: &Region,
        slices: &[usize],
        output: &str,
    ) -> Result<Vec<Tensor>, Failure> {
        let input = &model.manifest.input;
        let each = input.channels * input.size * input.size;
        let batch = model.batch(self.engine.batch);
        let fixed = model.input(&input.name).and_then(|port| port.dims.first().copied()).is_some_and(|d| d > 0);
        let stack_window = self.stack_window(model);
        let mut found = Vec::with_capacity(slices.len());
        for part in slices.chunks(batch) {
            let mut data = Vec::with_capacity(batch * each);
            for index in part {
                self.prepare(model, region, *index, stack_window.as_ref(), &mut data);
            }
            let count = if fixed { batch } else { part.len() };
            data.resize(count * each, 0.0);
            let tensor = Tensor { shape: vec![count, input.channels, input.size, input.size], data };
            let start = Instant::now();
            let outputs = model.run(&[(&input.name, &tensor)], &[output])?;
            self.count(model, millis(start));
            for out in outputs {
                found.extend(split(model, out, count, output)?.into_iter().take(part.len()));
            }
            (self.progress)(Progress { stage, done: found.len(), total: slices.len() });
        }
        Ok(found)
    }

    fn prepare(&self, model: &Model, region: &Region, index: usize, window: Option<&Window>, data: &mut Vec<f32>) {
        let Some(slice) = self.stack.slices.get(index) else { return };
        let input = &model.manifest.input;
        let patch =
            preprocess::crop(slice.pixels.view(), slice.valid.as_ref().map(|valid| valid.view()), region, input.size);
        let own = (input.intensity.scope == IntensityScope::Slice)
            .then(|| Window::of(&input.intensity, preprocess::valid_pixels(&slice.pixels, slice.valid.as_ref())));
        preprocess::normalise(&patch, input, model.manifest.format, own.as_ref().or(window), data);
    }

    fn stack_window(&self, model: &Model) -> Option<Window> {
        let intensity = &model.manifest.input.intensity;
        (intensity.scope == IntensityScope::Stack).then(|| {
            let slices = self.stack.slices.iter();
            let pixels = slices.flat_map(|slice| preprocess::valid_pixels(&slice.pixels, slice.valid.as_ref()));
            Window::of(intensity, pixels)
        })
    }

    fn count(&mut self, model: &Model, wall_ms: f64) {
        let role = model.manifest.role.name();
        match self.timings.iter_mut().find(|timing| timing.role == role) {
            Some(timing) => {
                timing.runs += 1;
                timing.wall_ms += wall_ms;
            }
            None => self.timings.push(ModelTiming { role: role.to_owned(), runs: 1, wall_ms }),
        }
    }

    /// Boxes and masks of the slices with a ring, in their order.
    fn prompted(
        &mut self,
        models: &Prompted,
        region: &Region,
        rings: &[usize],
        labels: &[Array2<u8>],
    ) -> Result<Vec<Lesion>, Failure> {
        let found = self.boxes(&models.detector, region, rings)?;
        let with_boxes = found.iter().filter(|d| !d.boxes.is_empty()).count();
        let mut lesions = Vec::with_capacity(rings.len());
        let mut done = 0;
        for (index, detections) in rings.iter().zip(found) {
            let mask = match labels.get(*index) {
                Some(labels) if !detections.boxes.is_empty() => {
                    let logits = self.masks(models, region, *index, &detections)?;
                    done += 1;
                    (self.progress)(Progress { stage: Stage::Segment, done, total: with_boxes });
                    Some(gated(&logits, models, region, labels))
                }
                _ => None,
            };
            let size = models.detector.manifest.input.size;
            lesions.push(Lesion { boxes: on_slice(&detections, region, size), mask });
        }
        Ok(lesions)
    }

    fn boxes(&mut self, model: &Model, region: &Region, rings: &[usize]) -> Result<Vec<Detections>, Failure> {
        let (Contract::Detector { output, .. }, Some(layout)) =
            (&model.manifest.contract, session::layout(&model.manifest))
        else {
            return Err(InferError::Mismatch("the scar-detector is not a detector".to_owned()).into());
        };
        let mut out = Vec::with_capacity(rings.len());
        let mut dropped = 0;
        for tensor in self.images(model, Stage::Detect, region, rings, output)? {
            let shape: Vec<i64> =
                std::iter::once(1).chain(tensor.shape.iter().map(|d| i64::try_from(*d).unwrap_or(i64::MAX))).collect();
            let &[a, b] = tensor.shape.as_slice() else { return Err(wrong_rows(model, &layout, &shape)) };
            if !detector::shape_fits(&layout, &shape) {
                return Err(wrong_rows(model, &layout, &shape));
            }
            let found = detector::decode(&layout, &tensor.data, a, b);
            dropped += found.dropped;
            out.push(found);
        }
        if dropped > 0 {
            tracing::warn!(dropped, "detector rows that were not finite or empty were dropped");
        }
        Ok(out)
    }

    /// Joined logits of all boxes of a slice: one embedding, one decoder pass per box.
    fn masks(
        &mut self,
        models: &Prompted,
        region: &Region,
        index: usize,
        detections: &Detections,
    ) -> Result<Logits, Failure> {
        let Contract::Encoder { output } = &models.encoder.manifest.contract else {
            return Err(InferError::Mismatch("the scar-encoder is not an encoder".to_owned()).into());
        };
        let embedding = self.embed(&models.encoder, region, index, output)?;
        let size = models.detector.manifest.input.size;
        let mut joined: Option<Logits> = None;
        for found in &detections.boxes {
            let start = Instant::now();
            let logits = sam::mask(&models.decoder, &embedding, found, size)?;
            self.count(&models.decoder, millis(start));
            match &mut joined {
                Some(all) => all.join(&logits),
                None => joined = Some(logits),
            }
        }
        joined.ok_or_else(|| Failure::permanent(Code::Internal, "masks were asked for without boxes"))
    }

    fn embed(&mut self, encoder: &Model, region: &Region, index: usize, output: &str) -> Result<Tensor, Failure> {
        let silent = |_: Progress| {};
        let mut inner = Run { engine: self.engine, stack: self.stack, progress: &silent, timings: Vec::new() };
        let tensor = inner.images(encoder, Stage::Segment, region, &[index], output)?.into_iter().next();
        for timing in inner.timings {
            self.count(encoder, timing.wall_ms);
        }
        let mut tensor =
            tensor.ok_or_else(|| Failure::permanent(Code::ModelInvalid, "the encoder gave no embedding"))?;
        tensor.shape.insert(0, 1);
        Ok(tensor)
    }

    /// Final labels of a slice.
    fn compose(&self, planes: &[f32], dense: Array2<u8>, region: &Region, lesion: Option<Lesion>) -> SliceLabels {
        let size = self.engine.wall.manifest.input.size;
        let entropy = dense::entropy(planes, region, &dense, size);
        let dense_scar = dense.mapv(|label| label >= Label::Scar as u8);
        if self.engine.prompted.is_none() {
            let found = dense_contour(planes, size, region, &dense, &dense_scar);
            return SliceLabels {
                labels: dense,
                scar_inner: found.inner,
                scar_outer: found.outer,
                boxes: Vec::new(),
                entropy,
                agreement: 1.0,
            };
        }
        let lesion = lesion.unwrap_or_default();
        let empty = || Array2::from_elem(dense.dim(), false);
        let found = lesion.mask.unwrap_or_else(|| Contoured { mask: empty(), inner: empty(), outer: empty() });
        let no_reflow = mask::touching(&dense.mapv(|label| label == Label::NoReflow as u8), &found.mask);
        let labels = merge(&dense, &found.mask, &no_reflow);
        let scar = labels.mapv(|label| label >= Label::Scar as u8);
        SliceLabels {
            scar_inner: inner_of(&found.inner, &no_reflow, &scar),
            scar_outer: &found.outer | &no_reflow,
            boxes: lesion.boxes,
            entropy,
            agreement: mask::dice(&scar, &dense_scar),
            labels,
        }
    }
}

/// What the promptable models found in a slice.
#[derive(Default)]
struct Lesion {
    boxes: Vec<LesionBox>,
    mask: Option<Contoured>,
}

/// Wall and cavity from the dense model, scar from the masks, no-reflow from the dense model where it touches scar.
fn merge(dense: &Array2<u8>, scar: &Array2<bool>, no_reflow: &Array2<bool>) -> Array2<u8> {
    let mut out = dense.mapv(|label| label.min(Label::Myocardium as u8));
    out.zip_mut_with(scar, |label, set| {
        if *set {
            *label = Label::Scar as u8;
        }
    });
    out.zip_mut_with(no_reflow, |label, set| {
        if *set {
            *label = Label::NoReflow as u8;
        }
    });
    out
}

/// The inner contour of scar with no-reflow: that of the masks, and no-reflow that does not lie at the rim of the scar.
fn inner_of(inner: &Array2<bool>, no_reflow: &Array2<bool>, scar: &Array2<bool>) -> Array2<bool> {
    let deep = {
        let rim = mask::dilate(&scar.mapv(|set| !set));
        no_reflow & &rim.mapv(|set| !set)
    };
    inner | &deep
}

/// Contours of the dense model's scar: its labels, moved by the margin between scar and the other classes.
fn dense_contour(planes: &[f32], size: usize, region: &Region, dense: &Array2<u8>, scar: &Array2<bool>) -> Contoured {
    let wall = dense.mapv(|label| label >= Label::Myocardium as u8);
    let margin = Logits { values: dense::scar_margin(planes, size), size };
    let found = sam::contour(&margin, 0.0, region, &mask::dilate(&wall));
    Contoured { inner: &found.inner & scar, outer: &found.outer | scar, mask: scar.clone() }
}

/// Masks on the slice grid, kept where the wall (grown by one pixel) is.
fn gated(logits: &Logits, models: &Prompted, region: &Region, labels: &Array2<u8>) -> Contoured {
    let threshold = match models.decoder.manifest.contract {
        Contract::Decoder { threshold, .. } => threshold,
        _ => 0.0,
    };
    let wall = labels.mapv(|label| label >= Label::Myocardium as u8);
    sam::contour(logits, threshold, region, &mask::dilate(&wall))
}

/// Boxes in slice pixels.
fn on_slice(detections: &Detections, region: &Region, size: usize) -> Vec<LesionBox> {
    let map = |x: f32, y: f32| {
        let (x, y) = region.to_slice(f64::from(x), f64::from(y), size);
        (x as f32, y as f32)
    };
    detections
        .boxes
        .iter()
        .map(|found| {
            let [x0, y0, x1, y1] = found.edges;
            let ((x0, y0), (x1, y1)) = (map(x0, y0), map(x1, y1));
            LesionBox { x0, y0, x1, y1, confidence: found.score }
        })
        .collect()
}

/// One tensor per image of a batch.
fn split(model: &Model, tensor: Tensor, count: usize, output: &str) -> Result<Vec<Tensor>, InferError> {
    let shape = tensor.shape.get(1..).unwrap_or(&[]).to_vec();
    let each: usize = shape.iter().product();
    if tensor.shape.first() != Some(&count) || each == 0 {
        return Err(InferError::Contract {
            role: model.manifest.role,
            expected: format!("output `{output}` with {count} images"),
            found: format!("{:?}", tensor.shape),
        });
    }
    Ok(tensor.data.chunks_exact(each).map(|data| Tensor { shape: shape.clone(), data: data.to_vec() }).collect())
}

fn wrong_rows(model: &Model, layout: &detector::Layout, shape: &[i64]) -> Failure {
    InferError::Contract {
        role: model.manifest.role,
        expected: detector::expected_shape(layout),
        found: format!("{shape:?}"),
    }
    .into()
}
