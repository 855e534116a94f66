//! Which series cannot be the stack, told from the headers of a few of their images, so that their pixels stay where they
//! are. Only what the whole series shares decides (modality, sequence, kind of image); doubt means that it is looked at.

use super::Error;
use super::classify::{self, Names, View};
use super::header::{Image, Lenient, is_mr_image};
use crate::config;
use crate::domain::stack::SeriesDecision;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

/// The decision to leave a series, from headers without pixels of some of its images; `None` when it could be late
/// enhancement, or when the headers do not tell: one that is incomplete or faulty, or images that differ.
///
/// # Errors
/// [`Error::Config`] when the site's patterns are not usable.
pub fn leave(
    headers: &[InMemDicomObject],
    config: &config::Study,
    limits: &config::Limits,
) -> Result<Option<SeriesDecision>, Error> {
    let names = Names::new(config).map_err(Error::Config)?;
    if !headers.iter().all(is_complete) {
        return Ok(None);
    }
    let images: Vec<Image> = headers.iter().filter_map(|set| Image::of(0, set, limits)).collect();
    let Some(first) = images.first().filter(|_| images.len() == headers.len()) else { return Ok(None) };
    let excluded = |images: &[Image]| match classify::view(images, &names) {
        View::Excluded(reason) => Some(reason),
        View::Late { .. } => None,
    };
    let doubtful = |image: &Image| image.fault.is_some() || excluded(std::slice::from_ref(image)).is_none();
    if images.iter().any(|image| image.series != first.series || doubtful(image)) {
        return Ok(None);
    }
    Ok(excluded(&images).map(|reason| SeriesDecision {
        series: first.series.clone(),
        series_number: first.series_number,
        taken: false,
        reason: reason.to_owned(),
    }))
}

/// A PACS may keep back attributes in its metadata. Those asked for here stand in every MR image (PS3.3 C.8.3.1,
/// C.8.13.1), so where one is missing, others may be too.
fn is_complete(set: &InMemDicomObject) -> bool {
    let Some(sop_class) = set.uid(tags::SOP_CLASS_UID) else { return false };
    let has = |tag| set.get(tag).is_some();
    if !is_mr_image(sop_class.as_str()) {
        return has(tags::MODALITY);
    }
    let sequence = if sop_class.as_str() == uids::MR_IMAGE_STORAGE {
        has(tags::SCANNING_SEQUENCE)
    } else {
        has(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE) && has(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
    };
    sequence && has(tags::MODALITY) && has(tags::IMAGE_TYPE) && has(tags::ROWS)
}
