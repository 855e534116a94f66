//! The bullseye: the 16 segments of the AHA model with the class and the numbers of each, as SVG and as PNG. Class is told
//! by colour and by words; nothing on it names a patient.

mod raster;
mod scene;
mod svg;

use super::EncodeError;
use crate::domain::artefact::{Artefact, ArtefactKind};
use crate::domain::measures::Measures;

/// The bullseye as SVG.
pub fn svg(measures: &Measures) -> String {
    svg::draw(&scene::Scene::of(measures))
}

/// The bullseye as PNG.
///
/// # Errors
/// When the PNG cannot be written.
pub fn png(measures: &Measures) -> Result<Artefact, EncodeError> {
    let bytes = raster::draw(&scene::Scene::of(measures))?;
    Ok(Artefact { kind: ArtefactKind::Overlay, name: "bullseye".into(), dicom: None, bytes })
}

#[cfg(test)]
mod tests;
