//! The heart cut out of its images before it is measured: most pixels of a short-axis image hold no label.

use crate::domain::labels::{Segmentation, SliceLabels};
use crate::domain::stack::{Slice, Stack};
use ndarray::{Array2, Axis, Slice as Span};
use std::ops::Range;

/// What stays around the labels, mm: room to look for the right ventricle.
pub(super) const MARGIN_MM: f64 = 24.0;
/// Pixels around the labels at least: outlines must close.
const MIN_MARGIN: usize = 3;

/// Rows and columns of all slices that are measured.
#[derive(Debug, Clone)]
pub(super) struct Crop {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Crop {
    /// The window of all labels with its margin; `None` without any label.
    pub(super) fn of(stack: &Stack, labels: &Segmentation) -> Option<Self> {
        let mut bounds: Option<[usize; 4]> = None;
        for slice in &labels.slices {
            for (row, line) in slice.labels.rows().into_iter().enumerate() {
                let Some(first) = line.iter().position(|label| *label != 0) else { continue };
                let last = line.iter().rposition(|label| *label != 0).unwrap_or(first);
                let [r0, r1, c0, c1] = bounds.unwrap_or([row, row, first, last]);
                bounds = Some([r0.min(row), r1.max(row), c0.min(first), c1.max(last)]);
            }
        }
        let [r0, r1, c0, c1] = bounds?;
        let (height, width) = stack.dim();
        let finest = |axis: usize| stack.slices.iter().map(|s| s.plane.spacing_mm[axis]).fold(f64::INFINITY, f64::min);
        let margin = |axis: usize| ((MARGIN_MM / finest(axis)) as usize).max(MIN_MARGIN);
        let (mr, mc) = (margin(0), margin(1));
        Some(Self {
            rows: r0.saturating_sub(mr)..(r1 + 1 + mr).min(height),
            columns: c0.saturating_sub(mc)..(c1 + 1 + mc).min(width),
        })
    }

    fn cut<T: Clone>(&self, array: &Array2<T>) -> Array2<T> {
        let rows = array.slice_axis(Axis(0), Span::from(self.rows.clone()));
        rows.slice_axis(Axis(1), Span::from(self.columns.clone())).to_owned()
    }

    /// The stack with the window's pixels only; planes keep their place in the patient.
    pub(super) fn stack(&self, stack: &Stack) -> Stack {
        let slice = |slice: &Slice| {
            let mut plane = slice.plane;
            plane.position_mm = plane.to_patient(self.rows.start as f64, self.columns.start as f64);
            Slice {
                pixels: self.cut(&slice.pixels),
                valid: slice.valid.as_ref().map(|valid| self.cut(valid)),
                plane,
                source: slice.source.clone(),
                ..*slice
            }
        };
        Stack {
            identity: stack.identity.clone(),
            position_reference_indicator: stack.position_reference_indicator.clone(),
            frame_of_reference: stack.frame_of_reference.clone(),
            manufacturer: stack.manufacturer.clone(),
            slices: stack.slices.iter().map(slice).collect(),
            flags: stack.flags.clone(),
            decisions: Vec::new(),
            ..*stack
        }
    }

    /// The labels of the window.
    pub(super) fn labels(&self, labels: &Segmentation) -> Segmentation {
        let slice = |slice: &SliceLabels| SliceLabels {
            labels: self.cut(&slice.labels),
            scar_inner: self.cut(&slice.scar_inner),
            scar_outer: self.cut(&slice.scar_outer),
            boxes: Vec::new(),
            ..*slice
        };
        Segmentation {
            slices: labels.slices.iter().map(slice).collect(),
            no_reflow: labels.no_reflow,
            scar_source: labels.scar_source,
            models: Vec::new(),
            provider: String::new(),
            timings: Vec::new(),
        }
    }

    /// Puts cleaned labels back; nothing is set outside the window.
    pub(super) fn put_back(&self, cleaned: &Segmentation, labels: &mut Segmentation) {
        labels.no_reflow = cleaned.no_reflow;
        for (from, to) in cleaned.slices.iter().zip(&mut labels.slices) {
            self.paste(&from.labels, &mut to.labels);
            to.scar_inner.fill(false);
            self.paste(&from.scar_inner, &mut to.scar_inner);
            to.scar_outer.fill(false);
            self.paste(&from.scar_outer, &mut to.scar_outer);
        }
    }

    fn paste<T: Clone>(&self, from: &Array2<T>, to: &mut Array2<T>) {
        let mut rows = to.slice_axis_mut(Axis(0), Span::from(self.rows.clone()));
        rows.slice_axis_mut(Axis(1), Span::from(self.columns.clone())).assign(from);
    }
}
