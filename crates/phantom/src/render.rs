//! From a plane through a patient to an ideal image and its labels: partial volume by sub-slices and sub-pixels.

use super::scene::{Plane, Scene};
use super::signal::Contrast;
use super::tissue::{TISSUES, Tissue, pixel_class};
use super::vec3::{V3, add_scaled};

/// An image without degradations.
#[derive(Debug, Clone)]
pub struct Ideal {
    /// Signed signal, row-major.
    pub signal: Vec<f32>,
    /// Training class per pixel, row-major.
    pub labels: Vec<u8>,
    /// Receive sensitivity field, standard normal and smooth, row-major.
    pub sensitivity: Vec<f32>,
}

/// Positions of the sub-samples: fraction of the thickness, then of a pixel along row and column. Five layers, each
/// displaced in-plane, so that one set of samples serves both kinds of partial volume.
const SAMPLES: [[f64; 3]; 5] =
    [[-0.4, -0.2, 0.4], [-0.2, 0.4, 0.2], [0.0, 0.0, 0.0], [0.2, -0.4, -0.2], [0.4, 0.2, -0.4]];

/// Pixels between nodes of the receive field.
const FIELD_STEP: usize = 8;

/// Steps from one sample to the next, in patient and in heart coordinates.
#[derive(Clone, Copy)]
struct Step {
    patient: [f32; 3],
    heart: [f32; 3],
}

fn single(v: V3) -> [f32; 3] {
    v.map(|x| x as f32)
}

#[inline(always)]
fn moved(p: [f32; 3], d: [f32; 3], k: f32) -> [f32; 3] {
    [p[0] + d[0] * k, p[1] + d[1] * k, p[2] + d[2] * k]
}

/// Renders a plane. `shift` moves the patient (breathing), in mm of patient space.
#[must_use]
pub fn render(scene: &Scene, plane: &Plane, contrast: &Contrast, shift: V3) -> Ideal {
    let origin = add_scaled(plane.origin, shift, -1.0);
    let step = |d: V3| Step { patient: single(d), heart: single(scene.pose.turn(d)) };
    let across = step(plane.along_row.map(|v| v * plane.pixel));
    let down = step(plane.along_column.map(|v| v * plane.pixel));
    let through = step(plane.normal().map(|v| v * plane.thickness));
    let first = Step { patient: single(origin), heart: single(scene.pose.to_heart(origin)) };
    let offsets = SAMPLES.map(|[t, u, v]| {
        let p = moved([0.0; 3], through.heart, t as f32);
        moved(moved(p, across.heart, u as f32), down.heart, v as f32)
    });
    let count = plane.rows * plane.columns;
    let mut out = Ideal {
        signal: Vec::with_capacity(count),
        labels: Vec::with_capacity(count),
        sensitivity: Vec::with_capacity(count),
    };
    for row in 0..plane.rows {
        let mut field = (0.0, 0.0);
        for column in 0..plane.columns {
            let place = |c: f32, f: fn(&Step) -> [f32; 3]| moved(moved(f(&first), f(&down), row as f32), f(&across), c);
            let here = Step { patient: place(column as f32, |s| s.patient), heart: place(column as f32, |s| s.heart) };
            let (value, class) = sample(scene, contrast, here, &offsets);
            out.signal.push(value);
            out.labels.push(class);
            // The receive field is smooth: nodes every few pixels, straight lines between.
            let within = column % FIELD_STEP;
            if within == 0 {
                let ahead = place((column + FIELD_STEP) as f32, |s| s.patient);
                field = (scene.torso.sensitivity(here.patient), scene.torso.sensitivity(ahead));
            }
            out.sensitivity.push(field.0 + (field.1 - field.0) * within as f32 / FIELD_STEP as f32);
        }
    }
    out
}

/// Mean signal and class of one pixel. Sub-samples are taken where the heart is; around it one sample of the torso is
/// enough, for nothing there is measured.
fn sample(scene: &Scene, contrast: &Contrast, here: Step, offsets: &[[f32; 3]; 5]) -> (f32, u8) {
    let mut hits = [0u16; TISSUES];
    let mut outside = 5u16;
    if scene.heart.reaches(here.heart) {
        for offset in offsets {
            if let Some(tissue) = scene.heart.tissue(moved(here.heart, *offset, 1.0)) {
                hits[tissue as usize] += 1;
                outside -= 1;
            }
        }
    }
    if outside > 0 {
        hits[scene.torso.tissue(here.patient) as usize] += outside;
    }
    let texture = scene.torso.texture(here.patient);
    let mut value = 0.0;
    for (index, n) in hits.iter().enumerate().filter(|(_, n)| **n > 0) {
        value += f32::from(*n) / 5.0 * (contrast.signal[index] + texture * contrast.texture[index]);
    }
    (value, class_of(&hits))
}

fn class_of(hits: &[u16; TISSUES]) -> u8 {
    let of = |t: Tissue| hits[t as usize];
    let cavity = of(Tissue::Cavity) + of(Tissue::Papillary);
    let (healthy, enhanced, core) = (of(Tissue::Myocardium), of(Tissue::Scar), of(Tissue::NoReflow));
    let all: u16 = hits.iter().sum();
    pixel_class(&[all - cavity - healthy - enhanced - core, cavity, healthy, enhanced, core])
}
