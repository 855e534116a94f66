//! Model manifests: one typed TOML file beside each ONNX file. What the contract needs and the file leaves unset is
//! refused, never guessed.

use super::error::InferError;
use crate::domain::provenance::{IntendedUse, ModelRef};
use crate::domain::stack::Contrast;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

/// Version of the schema that is read.
pub const SCHEMA: u32 = 1;

/// What a model does in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Per-pixel classes of the left ventricle.
    Myocardium,
    /// Boxes of lesions.
    ScarDetector,
    /// Image embedding of a promptable segmenter.
    ScarEncoder,
    /// Mask of a box prompt.
    ScarDecoder,
}

impl Role {
    /// All roles, in the order of a run.
    pub const ALL: [Self; 4] = [Self::Myocardium, Self::ScarDetector, Self::ScarEncoder, Self::ScarDecoder];

    /// The name, also of the sub-folder of the models' folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Myocardium => "myocardium",
            Self::ScarDetector => "scar-detector",
            Self::ScarEncoder => "scar-encoder",
            Self::ScarDecoder => "scar-decoder",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Layout of a model's inputs and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Image to class planes [B, K, H, W].
    Dense,
    /// Detector, [B, 4 + classes, N], centre form, scores already sigmoid.
    Ultralytics,
    /// Detector with embedded suppression, [B, K, 6]: x0, y0, x1, y1, score, class.
    E2e,
    /// Detector, [B, N, 5 + classes], centre form, objectness times class score.
    Yolov5,
    /// Detector, [B, 4 + classes, N], corner form.
    Libreyolo9,
    /// Encoder or decoder of the segment-anything contract.
    Sam,
}

/// The part of a slice that a model was trained to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The whole slice.
    Slice,
    /// The square around the left ventricle.
    LvCrop,
}

/// How a region becomes a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Geometry {
    /// Sides are scaled on their own.
    Stretch,
    /// Padded on both sides of the shorter side.
    Letterbox,
    /// Padded at the right or bottom.
    LongestBr,
}

/// In-plane orientation that the model expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orientation {
    /// As acquired: trained on any rotation.
    Native,
}

/// Intensity mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntensityKind {
    /// Values / 255, clipped to 0..1: for sources that are 8-bit already.
    Unit,
    /// Minimum to 0, maximum to 1.
    Minmax,
    /// Percentile `lo` to 0, `hi` to 1, clipped.
    PercentileMinmax,
    /// Clipped to the percentiles, then mean 0 and standard deviation 1.
    PercentileZscore,
    /// As percentile-minmax, then scaled to 0..255 and normalised as segment-anything does.
    Sam,
    /// As percentile-minmax, then the ImageNet mean and standard deviation.
    Imagenet,
}

/// Pixels that the statistics of the mapping are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntensityScope {
    /// The resampled region, without what lies outside the image.
    Region,
    /// The whole slice.
    Slice,
    /// All slices of the stack.
    Stack,
}

/// `[input.intensity]`
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intensity {
    /// Mapping.
    pub kind: IntensityKind,
    /// Lower percentile, where the mapping has one.
    pub lo: Option<f64>,
    /// Upper percentile.
    pub hi: Option<f64>,
    /// Where the statistics come from.
    pub scope: IntensityScope,
}

/// `[input]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Tensor name.
    pub name: String,
    /// Channels; grey is copied into each. For a decoder, those of the embedding.
    pub channels: usize,
    /// Side, px (for a decoder: of the embedding).
    pub size: usize,
    /// Regions that the model was trained for.
    pub regions: Vec<Scope>,
    /// Side of the LV crop over the extent of the ring.
    pub crop_factor: f64,
    /// How a region becomes a square.
    pub geometry: Geometry,
    /// In-plane orientation.
    pub orientation: Orientation,
    /// Intensity mapping.
    pub intensity: Intensity,
}

/// Whether a dense model's planes are logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Softmax is ours.
    Logits,
    /// Softmax is in the graph.
    Probabilities,
}

/// Form of a detector's boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoxForm {
    /// Corners.
    Xyxy,
    /// Centre, width, height.
    Cxcywh,
}

/// Which of a decoder's masks is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskSelect {
    /// Mask token 0: the first of four; a single-mask export is made to choose it by one padding point.
    Token0,
    /// The highest IoU estimate.
    BestIou,
    /// The export gives one mask and nothing is to be chosen.
    Only,
}

/// Role-specific part of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum Contract {
    /// Dense model.
    Dense {
        /// Output tensor.
        output: String,
        /// Logits or probabilities.
        activation: Activation,
    },
    /// Detector.
    Detector {
        /// Output tensor.
        output: String,
        /// Number of classes.
        classes: usize,
        /// Index of class `scar`.
        scar: usize,
        /// Score below which a box is ignored.
        confidence: f32,
        /// Overlap above which the lower-scored of two boxes is dropped; not used by `e2e`.
        iou: f32,
        /// Boxes kept per slice.
        max_detections: usize,
    },
    /// Encoder.
    Encoder {
        /// Output tensor.
        output: String,
    },
    /// Decoder.
    Decoder {
        /// Output with masks.
        masks: String,
        /// Output with low-resolution logits, where there is one.
        low_res: Option<String>,
        /// Side of the frame that prompts are given in, px.
        frame: usize,
        /// Which mask is taken.
        select: MaskSelect,
        /// Logit above which a pixel is scar.
        threshold: f32,
    },
}

/// `[accuracy]`: what was measured, in words and numbers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Accuracy {
    /// One line for people.
    pub summary: String,
    /// Further measured values, shown as they stand.
    #[serde(flatten)]
    pub values: BTreeMap<String, toml::Value>,
}

/// A tensor of the probe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeTensor {
    /// Name.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
}

/// `[probe]`: stored inputs and outputs, raw little-endian f32, all tensors of a side in one file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// File of the inputs.
    pub input: String,
    /// File of the outputs.
    pub output: String,
    /// Allowed difference, as a part of the largest stored output (at least of 1).
    pub tolerance: f64,
    /// Tensors in the input file, in order.
    pub inputs: Vec<ProbeTensor>,
    /// Tensors in the output file, in order.
    pub outputs: Vec<ProbeTensor>,
}

/// A checked manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Folder that it lies in.
    pub folder: PathBuf,
    /// SHA-256 of the manifest's own bytes, hex: part of the pipeline version.
    pub digest: String,
    /// Role.
    pub role: Role,
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// ONNX file, a plain name in `folder`.
    pub file: String,
    /// SHA-256 of the ONNX file, lower-case hex.
    pub sha256: String,
    /// Layout.
    pub format: Format,
    /// Where the model comes from, in words.
    pub source: String,
    /// What it was trained on, in words.
    pub training_data: String,
    /// SPDX licence expression of the weights.
    pub licence: String,
    /// Who is to be credited.
    pub credit: String,
    /// What it may be used for.
    pub intended_use: IntendedUse,
    /// Contrasts with measured accuracy.
    pub contrasts: Vec<Contrast>,
    /// Input.
    pub input: Input,
    /// Role-specific part.
    pub contract: Contract,
    /// Measured accuracy.
    pub accuracy: Accuracy,
    /// Stored probe.
    pub probe: Probe,
}

/// The file as it is written; fields that only some roles have are optional here and checked below.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    schema: u32,
    role: Role,
    name: String,
    version: String,
    file: String,
    sha256: String,
    format: Format,
    source: String,
    training_data: String,
    licence: String,
    credit: String,
    intended_use: IntendedUse,
    contrasts: Vec<Contrast>,
    input: Input,
    output: RawOutput,
    prompt: Option<RawPrompt>,
    thresholds: Option<RawThresholds>,
    accuracy: Accuracy,
    probe: Probe,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutput {
    name: Option<String>,
    activation: Option<Activation>,
    classes: Option<Vec<String>>,
    boxes: Option<BoxForm>,
    masks: Option<String>,
    low_res: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrompt {
    frame: usize,
    mask_select: MaskSelect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawThresholds {
    confidence: Option<f32>,
    iou: Option<f32>,
    max_detections: Option<usize>,
    mask: Option<f32>,
}

/// Classes of the dense model, in this order.
pub const DENSE_CLASSES: [&str; 5] = ["background", "cavity", "myocardium", "scar", "no-reflow"];

impl Manifest {
    /// Reads and checks `folder/manifest.toml`.
    ///
    /// # Errors
    /// [`InferError::Manifest`] with what is missing, unknown or contradictory.
    pub fn read(folder: &Path) -> Result<Self, InferError> {
        let path = folder.join("manifest.toml");
        let fault = |text: String| InferError::Manifest { path: path.clone(), text };
        let text = std::fs::read_to_string(&path).map_err(|error| fault(error.to_string()))?;
        Self::parse(&text, folder).map_err(fault)
    }

    /// Checks the text of a manifest that lies in `folder`.
    ///
    /// # Errors
    /// In words, what is missing, unknown or contradictory.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let raw: Raw = toml::from_str(text).map_err(|error| error.to_string().trim().replace('\n', " "))?;
        if raw.schema != SCHEMA {
            return Err(format!("schema {} is not {SCHEMA}", raw.schema));
        }
        check_texts(&raw)?;
        check_input(&raw)?;
        for file in [&raw.file, &raw.probe.input, &raw.probe.output] {
            plain_name(file)?;
        }
        check_probe(&raw.probe)?;
        let contract = contract(&raw)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            digest: super::onnx::sha256_hex(text.as_bytes()),
            role: raw.role,
            name: raw.name,
            version: raw.version,
            file: raw.file,
            sha256: raw.sha256.to_ascii_lowercase(),
            format: raw.format,
            source: raw.source,
            training_data: raw.training_data,
            licence: raw.licence,
            credit: raw.credit,
            intended_use: raw.intended_use,
            contrasts: raw.contrasts,
            input: raw.input,
            contract,
            accuracy: raw.accuracy,
            probe: raw.probe,
        })
    }

    /// What results say about the model.
    pub fn model_ref(&self) -> ModelRef {
        ModelRef {
            role: self.role.name().to_owned(),
            name: self.name.clone(),
            version: self.version.clone(),
            sha256: self.sha256.clone(),
            licence: self.licence.clone(),
            intended_use: self.intended_use,
        }
    }
}

fn check_texts(raw: &Raw) -> Result<(), String> {
    let texts = [
        ("name", &raw.name),
        ("version", &raw.version),
        ("source", &raw.source),
        ("training_data", &raw.training_data),
        ("licence", &raw.licence),
        ("credit", &raw.credit),
        ("input.name", &raw.input.name),
        ("accuracy.summary", &raw.accuracy.summary),
    ];
    for (key, text) in texts {
        if text.trim().is_empty() {
            return Err(format!("`{key}` is empty"));
        }
    }
    if raw.sha256.len() != 64 || !raw.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("`sha256` is not 64 hexadecimal digits".to_owned());
    }
    if raw.contrasts.is_empty() {
        return Err("`contrasts` is empty".to_owned());
    }
    Ok(())
}

fn check_input(raw: &Raw) -> Result<(), String> {
    let input = &raw.input;
    let image = raw.role != Role::ScarDecoder;
    if image && !matches!(input.channels, 1 | 3) {
        return Err(format!("`input.channels` = {} is not 1 or 3", input.channels));
    }
    if input.channels == 0 || !(8..=4096).contains(&input.size) {
        return Err("`input.channels` or `input.size` is out of range".to_owned());
    }
    if !(1.0..=4.0).contains(&input.crop_factor) {
        return Err(format!("`input.crop_factor` = {} is not within 1 to 4", input.crop_factor));
    }
    let needed: &[Scope] = if raw.role == Role::Myocardium { &[Scope::Slice, Scope::LvCrop] } else { &[Scope::LvCrop] };
    if let Some(missing) = needed.iter().find(|scope| !input.regions.contains(scope)) {
        return Err(format!("`input.regions` lacks {missing:?}, which role {} is run on", raw.role));
    }
    let uses = !matches!(input.intensity.kind, IntensityKind::Unit | IntensityKind::Minmax);
    match (uses, input.intensity.lo, input.intensity.hi) {
        (true, Some(lo), Some(hi)) if (0.0..hi).contains(&lo) && hi <= 100.0 => {}
        (true, Some(_), Some(_)) => return Err("`input.intensity` needs 0 <= lo < hi <= 100".to_owned()),
        (true, ..) => return Err("`input.intensity` needs lo and hi for its kind".to_owned()),
        (false, None, None) => {}
        (false, ..) => return Err("`input.intensity` has lo or hi, which its kind does not use".to_owned()),
    }
    Ok(())
}

/// A name that stays in the manifest's folder.
fn plain_name(name: &str) -> Result<(), String> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) if part == name && !name.contains(['\\', '\0']) => Ok(()),
        _ => Err(format!("`{name}` is not a plain file name beside the manifest")),
    }
}

fn check_probe(probe: &Probe) -> Result<(), String> {
    if !(probe.tolerance > 0.0 && probe.tolerance < 1.0) {
        return Err("`probe.tolerance` is not between 0 and 1".to_owned());
    }
    if probe.inputs.is_empty() || probe.outputs.is_empty() {
        return Err("`probe.inputs` and `probe.outputs` must name tensors".to_owned());
    }
    for tensor in probe.inputs.iter().chain(&probe.outputs) {
        let elements = tensor.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        if !elements.is_some_and(|n| (1..=1 << 28).contains(&n)) {
            return Err(format!("probe tensor `{}` is empty or too large", tensor.name));
        }
    }
    Ok(())
}

fn contract(raw: &Raw) -> Result<Contract, String> {
    match (raw.role, raw.format) {
        (Role::Myocardium, Format::Dense) => dense(raw),
        (Role::ScarDetector, Format::Ultralytics | Format::E2e | Format::Yolov5 | Format::Libreyolo9) => detector(raw),
        (Role::ScarEncoder, Format::Sam) => {
            only(raw, &["name"], &[], false)?;
            Ok(Contract::Encoder { output: needed(&raw.output.name, "output.name")? })
        }
        (Role::ScarDecoder, Format::Sam) => decoder(raw),
        (role, format) => Err(format!("format {format:?} does not serve role {role}")),
    }
}

fn dense(raw: &Raw) -> Result<Contract, String> {
    only(raw, &["name", "activation", "classes"], &[], false)?;
    let classes = needed(&raw.output.classes, "output.classes")?;
    if classes != DENSE_CLASSES {
        return Err(format!("`output.classes` must be {DENSE_CLASSES:?}"));
    }
    Ok(Contract::Dense {
        output: needed(&raw.output.name, "output.name")?,
        activation: needed(&raw.output.activation, "output.activation")?,
    })
}

fn detector(raw: &Raw) -> Result<Contract, String> {
    let iou: &[&str] = if raw.format == Format::E2e { &[] } else { &["iou"] };
    only(raw, &["name", "boxes", "classes"], &[&["confidence", "max_detections"], iou].concat(), false)?;
    let classes = needed(&raw.output.classes, "output.classes")?;
    let scar = classes.iter().position(|name| name == "scar").ok_or("`output.classes` lacks \"scar\"")?;
    let form = match raw.format {
        Format::Ultralytics | Format::Yolov5 => BoxForm::Cxcywh,
        _ => BoxForm::Xyxy,
    };
    if needed(&raw.output.boxes, "output.boxes")? != form {
        return Err(format!("format {:?} has boxes as {form:?}, the manifest says otherwise", raw.format));
    }
    let limits = raw.thresholds.as_ref().ok_or("`[thresholds]` is missing")?;
    let confidence = needed(&limits.confidence, "thresholds.confidence")?;
    let iou = if iou.is_empty() { 1.0 } else { needed(&limits.iou, "thresholds.iou")? };
    let max_detections = needed(&limits.max_detections, "thresholds.max_detections")?;
    if !(confidence > 0.0 && confidence < 1.0 && iou > 0.0 && iou <= 1.0 && (1..=64).contains(&max_detections)) {
        return Err(
            "`[thresholds]` needs confidence and iou within 0 to 1 and max_detections within 1 to 64".to_owned()
        );
    }
    Ok(Contract::Detector {
        output: needed(&raw.output.name, "output.name")?,
        classes: classes.len(),
        scar,
        confidence,
        iou,
        max_detections,
    })
}

fn decoder(raw: &Raw) -> Result<Contract, String> {
    let low: &[&str] = if raw.output.low_res.is_some() { &["low_res"] } else { &[] };
    only(raw, &[&["masks"], low].concat(), &["mask"], true)?;
    let prompt = raw.prompt.as_ref().ok_or("`[prompt]` is missing")?;
    let limits = raw.thresholds.as_ref().ok_or("`[thresholds]` is missing")?;
    if !(8..=4096).contains(&prompt.frame) {
        return Err("`prompt.frame` is out of range".to_owned());
    }
    let threshold = needed(&limits.mask, "thresholds.mask")?;
    if !threshold.is_finite() {
        return Err("`thresholds.mask` is not a number".to_owned());
    }
    Ok(Contract::Decoder {
        masks: needed(&raw.output.masks, "output.masks")?,
        low_res: raw.output.low_res.clone(),
        frame: prompt.frame,
        select: prompt.mask_select,
        threshold,
    })
}

fn needed<T: Clone>(value: &Option<T>, key: &str) -> Result<T, String> {
    value.clone().ok_or_else(|| format!("`{key}` is missing"))
}

/// Refuses what the role does not have, so that a misplaced key is not silently without effect.
fn only(raw: &Raw, output: &[&str], thresholds: &[&str], prompt: bool) -> Result<(), String> {
    let o = &raw.output;
    let mut set: Vec<(&str, &str, bool)> = vec![
        ("output", "name", o.name.is_some()),
        ("output", "activation", o.activation.is_some()),
        ("output", "classes", o.classes.is_some()),
        ("output", "boxes", o.boxes.is_some()),
        ("output", "masks", o.masks.is_some()),
        ("output", "low_res", o.low_res.is_some()),
    ];
    if let Some(t) = &raw.thresholds {
        set.extend([
            ("thresholds", "confidence", t.confidence.is_some()),
            ("thresholds", "iou", t.iou.is_some()),
            ("thresholds", "max_detections", t.max_detections.is_some()),
            ("thresholds", "mask", t.mask.is_some()),
        ]);
    }
    for (table, key, is_set) in set {
        let known = if table == "output" { output } else { thresholds };
        if is_set && !known.contains(&key) {
            return Err(format!("`{table}.{key}` has no meaning for role {} in format {:?}", raw.role, raw.format));
        }
    }
    if raw.prompt.is_some() && !prompt {
        return Err(format!("`[prompt]` has no meaning for role {}", raw.role));
    }
    Ok(())
}
