//! The bullseye: the 16 segments of the AHA model with the class and the numbers of each, as SVG and as pixels. Class is told
//! by colour and by words; nothing on it names a patient.

mod raster;
mod scene;
mod svg;

use crate::domain::measures::Measures;
use image::RgbImage;

/// The bullseye as SVG.
pub fn svg(measures: &Measures) -> String {
    svg::draw(&scene::Scene::of(measures))
}

/// The bullseye as a picture.
pub fn canvas(measures: &Measures) -> RgbImage {
    raster::draw(&scene::Scene::of(measures))
}

#[cfg(test)]
mod tests;
