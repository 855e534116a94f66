//! From a detector's raw output to lesion boxes: the layouts in use, score threshold, suppression of overlaps.

use super::manifest::Format;

/// A box in the model's frame, px (edges).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Left, top, right, bottom.
    pub edges: [f32; 4],
    /// Confidence, 0 to 1.
    pub score: f32,
}

/// What a detector's output holds, besides what the shape tells.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Format of the rows.
    pub format: Format,
    /// Number of classes.
    pub classes: usize,
    /// Class that counts.
    pub scar: usize,
    /// Side of the frame, px.
    pub size: usize,
    /// Lowest score that is kept.
    pub confidence: f32,
    /// Highest overlap of two kept boxes.
    pub iou: f32,
    /// Boxes kept.
    pub most: usize,
}

/// Boxes of one image, and how many rows above the threshold were not usable (not finite, or empty after clipping).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Detections {
    /// Highest score first.
    pub boxes: Vec<Found>,
    /// Rows dropped.
    pub dropped: usize,
}

/// Candidates that enter suppression at most.
const CANDIDATES: usize = 30_000;

/// Whether an output shape [batch, a, b] fits; -1 and 0 stand for dimensions that are not fixed.
pub fn shape_fits(layout: &Layout, shape: &[i64]) -> bool {
    let &[_, a, b] = shape else { return false };
    let is = |dim: i64, wanted: usize| dim <= 0 || usize::try_from(dim) == Ok(wanted);
    match layout.format {
        Format::E2e => is(b, 6),
        Format::Yolov5 => is(b, 5 + layout.classes),
        Format::Libreyolo9 => is(a, 4 + layout.classes),
        // A segmentation head appends 32 mask coefficients, which are not used.
        Format::Ultralytics => is(a, 4 + layout.classes) || is(a, 36 + layout.classes),
        Format::Dense | Format::Sam => false,
    }
}

/// The expected shape in words, for errors.
pub fn expected_shape(layout: &Layout) -> String {
    match layout.format {
        Format::E2e => "[batch, K, 6]".to_owned(),
        Format::Yolov5 => format!("[batch, N, {}]", 5 + layout.classes),
        _ => format!("[batch, {}, N]", 4 + layout.classes),
    }
}

/// Decodes the rows of one image, `data` of shape [a, b] row-major (the caller checked [`shape_fits`]).
pub fn decode(layout: &Layout, data: &[f32], a: usize, b: usize) -> Detections {
    let at = |row: usize, column: usize| data.get(row * b + column).copied().unwrap_or(f32::NAN);
    let size = layout.size as f32;
    let mut rows: Vec<Found> = Vec::new();
    let mut dropped = 0;
    let count = match layout.format {
        Format::E2e | Format::Yolov5 => a,
        _ => b,
    };
    for i in 0..count {
        let (values, score) = match layout.format {
            Format::E2e => {
                let class = at(i, 5).round();
                let score = if class == layout.scar as f32 { at(i, 4) } else { 0.0 };
                (std::array::from_fn(|k| at(i, k)), score)
            }
            Format::Yolov5 => (std::array::from_fn(|k| at(i, k)), at(i, 4) * at(i, 5 + layout.scar)),
            _ => (std::array::from_fn(|k| at(k, i)), at(4 + layout.scar, i)),
        };
        let edges = match layout.format {
            Format::Ultralytics | Format::Yolov5 => corners(values),
            _ => values,
        };
        if score < layout.confidence {
            continue;
        }
        let edges = edges.map(|v| if v.is_finite() { v.clamp(0.0, size) } else { f32::NAN });
        let usable = score.is_finite() && edges[2] > edges[0] && edges[3] > edges[1];
        if usable {
            rows.push(Found { edges, score: score.min(1.0) });
        } else {
            dropped += 1;
        }
    }
    // Stable: equal scores keep the order of the output, so that runs are reproducible.
    rows.sort_by(|p, q| q.score.total_cmp(&p.score));
    rows.truncate(CANDIDATES);
    Detections { boxes: suppress(&rows, layout), dropped }
}

fn corners([cx, cy, w, h]: [f32; 4]) -> [f32; 4] {
    [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0]
}

/// Greedy suppression of rows sorted by score.
fn suppress(rows: &[Found], layout: &Layout) -> Vec<Found> {
    let mut kept: Vec<Found> = Vec::new();
    for row in rows {
        if kept.len() == layout.most {
            break;
        }
        if layout.format == Format::E2e || kept.iter().all(|k| iou(&k.edges, &row.edges) <= layout.iou) {
            kept.push(*row);
        }
    }
    kept
}

/// Intersection over union of two boxes.
pub fn iou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let side = |low: usize, high: usize| (a[high].min(b[high]) - a[low].max(b[low])).max(0.0);
    let both = side(0, 2) * side(1, 3);
    let area = |e: &[f32; 4]| (e[2] - e[0]) * (e[3] - e[1]);
    both / (area(a) + area(b) - both).max(1e-9)
}
