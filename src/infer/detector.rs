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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(format: Format) -> Layout {
        Layout { format, classes: 1, scar: 0, size: 64, confidence: 0.25, iou: 0.5, most: 8 }
    }

    /// Turns rows into channels-first order.
    fn transpose(rows: &[Vec<f32>]) -> Vec<f32> {
        let width = rows.first().map_or(0, Vec::len);
        (0..width).flat_map(|k| rows.iter().map(move |row| row[k])).collect()
    }

    fn edges(found: &Detections) -> Vec<[f32; 4]> {
        found.boxes.iter().map(|b| b.edges).collect()
    }

    const NAN: f32 = f32::NAN;

    #[test]
    fn ultralytics_rows_are_centre_form_and_suppressed() {
        let rows = vec![
            vec![20.0, 20.0, 20.0, 10.0, 0.6],
            vec![21.0, 20.0, 20.0, 10.0, 0.9],
            vec![50.0, 50.0, 40.0, 40.0, 0.3],
            vec![10.0, 50.0, 8.0, 8.0, 0.2],
            vec![10.0, NAN, 8.0, 8.0, 0.8],
            vec![10.0, 50.0, 0.0, 8.0, 0.8],
            vec![10.0, 50.0, 8.0, 8.0, NAN],
        ];
        let found = decode(&layout(Format::Ultralytics), &transpose(&rows), 5, 7);
        assert_eq!(edges(&found), [[11.0, 15.0, 31.0, 25.0], [30.0, 30.0, 64.0, 64.0]]);
        assert_eq!(found.dropped, 3, "not finite, empty, score not a number");
    }

    #[test]
    fn libreyolo_rows_are_corners() {
        let rows = vec![vec![10.0, 12.0, 30.0, 32.0, 0.9], vec![-5.0, 40.0, 8.0, 70.0, 0.5]];
        let found = decode(&layout(Format::Libreyolo9), &transpose(&rows), 5, 2);
        assert_eq!(edges(&found), [[10.0, 12.0, 30.0, 32.0], [0.0, 40.0, 8.0, 64.0]]);
    }

    #[test]
    fn yolov5_multiplies_objectness_and_class() {
        let data = [20.0, 20.0, 10.0, 10.0, 0.5, 0.6, 40.0, 40.0, 10.0, 10.0, 0.9, 0.2];
        let found = decode(&layout(Format::Yolov5), &data, 2, 6);
        assert_eq!(edges(&found), [[15.0, 15.0, 25.0, 25.0]]);
        assert!((found.boxes[0].score - 0.3).abs() < 1e-6);
    }

    #[test]
    fn e2e_rows_are_final_and_of_one_class() {
        let mut data = vec![10.0, 10.0, 30.0, 30.0, 0.9, 0.0];
        data.extend([11.0, 11.0, 31.0, 31.0, 0.8, 0.0]);
        data.extend([40.0, 40.0, 50.0, 50.0, 0.7, 1.0]);
        data.extend([0.0; 12]);
        let found = decode(&layout(Format::E2e), &data, 5, 6);
        assert_eq!(found.boxes.len(), 2, "overlaps stay, another class and empty rows go");
        assert_eq!(found.dropped, 0);
    }

    #[test]
    fn only_the_scar_class_counts() {
        let two = Layout { classes: 2, scar: 1, ..layout(Format::Ultralytics) };
        let rows = vec![vec![20.0, 20.0, 10.0, 10.0, 0.9, 0.1], vec![40.0, 40.0, 10.0, 10.0, 0.1, 0.9]];
        let found = decode(&two, &transpose(&rows), 6, 2);
        assert_eq!(edges(&found), [[35.0, 35.0, 45.0, 45.0]]);
    }

    #[test]
    fn equal_scores_keep_their_order() {
        let rows: Vec<Vec<f32>> = (0..6).map(|i| vec![5.0 + 10.0 * i as f32, 5.0, 6.0, 6.0, 0.5]).collect();
        let found = decode(&Layout { most: 3, ..layout(Format::Ultralytics) }, &transpose(&rows), 5, 6);
        let lefts: Vec<f32> = found.boxes.iter().map(|b| b.edges[0]).collect();
        assert_eq!(lefts, [2.0, 12.0, 22.0]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_told_apart() {
        for (format, good, bad) in [
            (Format::Ultralytics, [1, 5, 84], [1, 84, 5]),
            (Format::Libreyolo9, [-1, 5, -1], [-1, 6, 84]),
            (Format::Yolov5, [1, 84, 6], [1, 84, 7]),
            (Format::E2e, [1, 300, 6], [1, 6, 300]),
        ] {
            assert!(shape_fits(&layout(format), &good), "{format:?}");
            assert!(!shape_fits(&layout(format), &bad), "{format:?}");
            assert!(!shape_fits(&layout(format), &good[1..]), "{format:?}: rank");
        }
    }

    /// Intersection 50, union 150.
    #[test]
    fn iou_of_known_boxes() {
        assert!((iou(&[0.0, 0.0, 10.0, 10.0], &[5.0, 0.0, 15.0, 10.0]) - 1.0 / 3.0).abs() < 1e-6);
        assert!(iou(&[0.0, 0.0, 1.0, 1.0], &[2.0, 2.0, 3.0, 3.0]).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn suppression_keeps_its_promises(
            rows in proptest::collection::vec(proptest::collection::vec(-10.0f32..80.0, 4), 1..40),
            scores in proptest::collection::vec(0.0f32..1.0, 40),
        ) {
            let rows: Vec<Vec<f32>> =
                rows.into_iter().zip(scores).map(|(row, score)| row.into_iter().chain([score]).collect()).collect();
            let layout = layout(Format::Libreyolo9);
            let found = decode(&layout, &transpose(&rows), 5, rows.len());
            prop_assert!(found.boxes.len() <= layout.most);
            prop_assert!(found.boxes.windows(2).all(|pair| pair[0].score >= pair[1].score));
            for (i, a) in found.boxes.iter().enumerate() {
                prop_assert!(a.score >= layout.confidence);
                prop_assert!(a.edges[0] < a.edges[2] && a.edges[1] < a.edges[3]);
                prop_assert!(a.edges.iter().all(|v| (0.0..=64.0).contains(v)));
                prop_assert!(found.boxes[..i].iter().all(|b| iou(&a.edges, &b.edges) <= layout.iou));
            }
        }
    }
}
