//! What a DICOM header says about its image: classic attributes and the functional groups of Enhanced MR, one shape for both.

use crate::config::Limits;
use crate::domain::stack::Vector3;
use crate::domain::uid::Uid;
use crate::failure::Code;
use dicom_core::Tag;
use dicom_core::value::Value;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

/// One frame of an image: a classic object has one, an Enhanced one many.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Index of the object among those given.
    pub object: usize,
    /// 1-based frame number when the object is multi-frame.
    pub number: Option<u32>,
    pub sop_class: Uid,
    pub sop_instance: Uid,
    pub series: Uid,
    pub rows: usize,
    pub columns: usize,
    /// ImagePositionPatient, mm.
    pub position: Option<Vector3>,
    /// ImageOrientationPatient: row and column direction, unit vectors at right angles.
    pub orientation: Option<(Vector3, Vector3)>,
    /// PixelSpacing, mm.
    pub spacing: Option<[f64; 2]>,
    pub thickness_mm: Option<f64>,
    /// SpacingBetweenSlices, mm.
    pub between_mm: Option<f64>,
    pub frame_of_reference: Option<Uid>,
    pub slope: f64,
    pub intercept: f64,
    /// TriggerTime or NominalCardiacTriggerDelayTime, ms.
    pub trigger_ms: Option<f64>,
    pub inversion_ms: Option<f64>,
    /// Moment of acquisition as sortable text; empty when absent.
    pub acquired: String,
    pub instance_number: i64,
    /// ImageType or FrameType, upper case.
    pub image_type: Vec<String>,
    /// ComplexImageComponent, upper case; empty when absent.
    pub complex_component: String,
    /// True when the header states an inversion preparation.
    pub inversion_recovery: bool,
}

/// Something that makes an image unusable before its pixels are looked at.
pub(super) type Fault = (Code, &'static str);

/// What is common to the frames of one object.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub series: Uid,
    pub series_number: Option<i32>,
    pub study: Option<Uid>,
    /// True for MR images with one sample per pixel.
    pub kind: Kind,
    /// SeriesDescription and ProtocolName.
    pub name: String,
    pub scanning_sequence: Vec<String>,
    pub three_dimensional: bool,
    pub contrast_agent: bool,
    pub frames: Vec<Frame>,
    pub fault: Option<Fault>,
}

/// Whether an object can be part of a stack at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An MR image.
    MrImage,
    /// Another modality: our own SEG and SR among them.
    OtherModality,
    /// MR, but no image of it (spectroscopy, presentation states, screenshots, colour).
    NotAnImage,
}

/// Accessors that take what is there and ignore what is malformed.
pub(super) trait Lenient {
    fn text(&self, tag: Tag) -> Option<String>;
    fn texts(&self, tag: Tag) -> Vec<String>;
    fn numbers(&self, tag: Tag) -> Vec<f64>;
    fn number(&self, tag: Tag) -> Option<f64> {
        self.numbers(tag).first().copied()
    }
    fn integer(&self, tag: Tag) -> Option<i64> {
        self.number(tag).filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i64)
    }
    fn uid(&self, tag: Tag) -> Option<Uid> {
        self.text(tag).and_then(|text| Uid::parse(&text).ok())
    }
    fn first_item(&self, tag: Tag) -> Option<&InMemDicomObject>;
}

impl Lenient for InMemDicomObject {
    fn text(&self, tag: Tag) -> Option<String> {
        let text = self.get(tag)?.to_str().ok()?;
        let text = text.trim_matches([' ', '\0']);
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn texts(&self, tag: Tag) -> Vec<String> {
        let text = self.text(tag).unwrap_or_default().to_ascii_uppercase();
        text.split('\\').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }

    fn numbers(&self, tag: Tag) -> Vec<f64> {
        let numbers = self.get(tag).and_then(|element| element.to_multi_float64().ok()).unwrap_or_default();
        if numbers.iter().all(|n| n.is_finite()) { numbers } else { Vec::new() }
    }

    fn first_item(&self, tag: Tag) -> Option<&InMemDicomObject> {
        self.get(tag)?.items()?.first()
    }
}

/// Where the attributes of a frame stand: its own functional groups, the shared ones, the data set.
struct Groups<'a> {
    frame: Option<&'a InMemDicomObject>,
    shared: Option<&'a InMemDicomObject>,
    set: &'a InMemDicomObject,
}

impl<'a> Groups<'a> {
    /// The set that holds `tag`: each functional group macro is a sequence with one item.
    fn holder(&self, tag: Tag) -> Option<&'a InMemDicomObject> {
        for groups in [self.frame, self.shared].into_iter().flatten() {
            for element in groups.iter() {
                if let Value::Sequence(sequence) = element.value()
                    && let Some(item) = sequence.items().first()
                    && item.get(tag).is_some()
                {
                    return Some(item);
                }
            }
        }
        self.set.get(tag).map(|_| self.set)
    }

    fn number(&self, tag: Tag) -> Option<f64> {
        self.holder(tag)?.number(tag)
    }

    fn array<const N: usize>(&self, tag: Tag) -> Option<[f64; N]> {
        self.holder(tag)?.numbers(tag).try_into().ok()
    }

    fn text(&self, tag: Tag) -> String {
        self.holder(tag).and_then(|set| set.text(tag)).unwrap_or_default()
    }

    fn texts(&self, tag: Tag) -> Vec<String> {
        self.holder(tag).map(|set| set.texts(tag)).unwrap_or_default()
    }
}

impl Image {
    /// Reads the header of object number `object`; `None` when it lacks the UIDs that every object has.
    pub(super) fn of(object: usize, set: &InMemDicomObject, limits: &Limits) -> Option<Self> {
        let series = set.uid(tags::SERIES_INSTANCE_UID)?;
        let sop_class = set.uid(tags::SOP_CLASS_UID)?;
        let sop_instance = set.uid(tags::SOP_INSTANCE_UID)?;
        let kind = kind(set, &sop_class);
        let name = [set.text(tags::SERIES_DESCRIPTION), set.text(tags::PROTOCOL_NAME)];
        let mut image = Self {
            series_number: set.integer(tags::SERIES_NUMBER).and_then(|n| i32::try_from(n).ok()),
            study: set.uid(tags::STUDY_INSTANCE_UID),
            kind,
            name: name.into_iter().flatten().collect::<Vec<_>>().join(" "),
            scanning_sequence: set.texts(tags::SCANNING_SEQUENCE),
            three_dimensional: set.texts(tags::MR_ACQUISITION_TYPE).iter().any(|text| text == "3D"),
            contrast_agent: set.text(tags::CONTRAST_BOLUS_AGENT).is_some()
                || set.first_item(tags::CONTRAST_BOLUS_AGENT_SEQUENCE).is_some(),
            frames: Vec::new(),
            fault: None,
            series: series.clone(),
        };
        if kind == Kind::MrImage {
            image.fault = fault(set, limits);
            image.frames = frames(object, set, limits, (&sop_class, &sop_instance, &series));
            if image.frames.is_empty() && image.fault.is_none() {
                image.fault = Some((Code::GeometryInvalid, "functional groups do not match NumberOfFrames"));
            }
        }
        Some(image)
    }
}

/// Whether a SOP class is an MR image that may be a slice.
pub(super) fn is_mr_image(sop_class: &str) -> bool {
    [uids::MR_IMAGE_STORAGE, uids::ENHANCED_MR_IMAGE_STORAGE, uids::LEGACY_CONVERTED_ENHANCED_MR_IMAGE_STORAGE]
        .contains(&sop_class)
}

fn kind(set: &InMemDicomObject, sop_class: &Uid) -> Kind {
    if set.text(tags::MODALITY).is_some_and(|modality| modality != "MR") {
        return Kind::OtherModality;
    }
    let monochrome = set.text(tags::PHOTOMETRIC_INTERPRETATION).is_none_or(|text| text.starts_with("MONOCHROME"));
    let one_sample = set.integer(tags::SAMPLES_PER_PIXEL).is_none_or(|samples| samples == 1);
    if is_mr_image(sop_class.as_str()) && monochrome && one_sample { Kind::MrImage } else { Kind::NotAnImage }
}

/// Limits and contradictions that are seen without the pixels. Nothing is allocated by what the header claims.
fn fault(set: &InMemDicomObject, limits: &Limits) -> Option<Fault> {
    let (Some(rows), Some(columns)) = (set.integer(tags::ROWS), set.integer(tags::COLUMNS)) else {
        return Some((Code::PixelDataInvalid, "Rows or Columns is missing"));
    };
    if rows < 1 || columns < 1 {
        return Some((Code::PixelDataInvalid, "Rows or Columns is zero"));
    }
    if rows.max(columns) > i64::try_from(limits.frame_pixels).unwrap_or(i64::MAX) {
        return Some((Code::StudyTooLarge, "Rows or Columns is above [limits] frame_pixels"));
    }
    let frames = set.integer(tags::NUMBER_OF_FRAMES).unwrap_or(1);
    if frames < 1 {
        return Some((Code::PixelDataInvalid, "NumberOfFrames is not positive"));
    }
    if frames > i64::try_from(limits.frames).unwrap_or(i64::MAX) {
        return Some((Code::StudyTooLarge, "NumberOfFrames is above [limits] frames"));
    }
    None
}

fn frames(object: usize, set: &InMemDicomObject, limits: &Limits, uids: (&Uid, &Uid, &Uid)) -> Vec<Frame> {
    let shared = set.first_item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let per_frame = set.get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).and_then(|element| element.items());
    let stated = set.integer(tags::NUMBER_OF_FRAMES).unwrap_or(1);
    match per_frame {
        Some(items) if items.len() <= limits.frames => {
            let many = stated > 1 || items.len() > 1;
            let matches = i64::try_from(items.len()).is_ok_and(|count| count == stated);
            let groups = items.iter().enumerate().filter(|_| matches || stated > limits.frames as i64);
            groups
                .map(|(index, item)| {
                    let number = many.then(|| u32::try_from(index + 1).unwrap_or(u32::MAX));
                    frame(object, number, &Groups { frame: Some(item), shared, set }, uids)
                })
                .collect()
        }
        Some(_) => Vec::new(),
        None => vec![frame(object, (stated > 1).then_some(1), &Groups { frame: None, shared, set }, uids)],
    }
}

fn frame(object: usize, number: Option<u32>, groups: &Groups<'_>, uids: (&Uid, &Uid, &Uid)) -> Frame {
    let set = groups.set;
    let image_type = match groups.texts(tags::FRAME_TYPE) {
        none if none.is_empty() => set.texts(tags::IMAGE_TYPE),
        frame_type => frame_type,
    };
    let inversion_ms = groups.number(tags::INVERSION_TIME).or_else(|| groups.number(tags::INVERSION_TIMES));
    Frame {
        object,
        number,
        sop_class: uids.0.clone(),
        sop_instance: uids.1.clone(),
        series: uids.2.clone(),
        rows: size(set, tags::ROWS),
        columns: size(set, tags::COLUMNS),
        position: groups.array(tags::IMAGE_POSITION_PATIENT),
        orientation: groups.array(tags::IMAGE_ORIENTATION_PATIENT).and_then(orientation),
        spacing: groups.array(tags::PIXEL_SPACING).filter(|s: &[f64; 2]| s.iter().all(|mm| *mm > 0.0)),
        thickness_mm: groups.number(tags::SLICE_THICKNESS).filter(|mm| *mm > 0.0),
        between_mm: groups.number(tags::SPACING_BETWEEN_SLICES).map(f64::abs).filter(|mm| *mm > 0.0),
        frame_of_reference: set.uid(tags::FRAME_OF_REFERENCE_UID),
        slope: groups.number(tags::RESCALE_SLOPE).filter(|slope| *slope != 0.0).unwrap_or(1.0),
        intercept: groups.number(tags::RESCALE_INTERCEPT).unwrap_or(0.0),
        trigger_ms: groups
            .number(tags::NOMINAL_CARDIAC_TRIGGER_DELAY_TIME)
            .or_else(|| groups.number(tags::TRIGGER_TIME)),
        inversion_ms: inversion_ms.filter(|ms| *ms > 0.0),
        acquired: acquired(groups),
        instance_number: set.integer(tags::INSTANCE_NUMBER).unwrap_or(0),
        image_type,
        complex_component: groups.text(tags::COMPLEX_IMAGE_COMPONENT).to_ascii_uppercase(),
        inversion_recovery: groups.text(tags::INVERSION_RECOVERY) == "YES"
            || set.texts(tags::SCANNING_SEQUENCE).iter().any(|text| text == "IR"),
    }
}

fn size(set: &InMemDicomObject, tag: Tag) -> usize {
    set.integer(tag).and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

/// Row and column direction; `None` unless they are unit vectors at right angles, within rounding.
fn orientation(cosines: [f64; 6]) -> Option<(Vector3, Vector3)> {
    use crate::domain::stack::dot;
    let [a, b, c, d, e, f] = cosines;
    let (row, column) = ([a, b, c], [d, e, f]);
    let unit = |v: Vector3| (dot(v, v).sqrt() - 1.0).abs() < 1e-2;
    if !unit(row) || !unit(column) || dot(row, column).abs() > 1e-2 {
        return None;
    }
    let normalise = |v: Vector3| v.map(|x| x / dot(v, v).sqrt());
    Some((normalise(row), normalise(column)))
}

/// Date and time of acquisition, digits only; falls back to the content's.
fn acquired(groups: &Groups<'_>) -> String {
    let set = groups.set;
    for tag in [tags::FRAME_ACQUISITION_DATE_TIME, tags::ACQUISITION_DATE_TIME] {
        let moment = groups.text(tag);
        if !moment.is_empty() {
            return moment;
        }
    }
    let moment = |date: Tag, time: Tag| {
        let time = set.text(time)?;
        Some(format!("{}{time}", set.text(date).or_else(|| set.text(tags::STUDY_DATE)).unwrap_or_default()))
    };
    moment(tags::ACQUISITION_DATE, tags::ACQUISITION_TIME)
        .or_else(|| moment(tags::CONTENT_DATE, tags::CONTENT_TIME))
        .unwrap_or_default()
}
