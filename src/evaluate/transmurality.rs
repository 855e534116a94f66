//! How far scar reaches through the wall, by sector: reference masks against predicted masks.
//!
//! Radial definition: 120 rays from the centre of the reference's cavity, the same for both sides; along a ray T = 100 x
//! scar length / wall length (no-reflow is scar). A sector is 60 degrees of one slice (20 rays) and its value the mean of its
//! rays; sectors start at the direction of growing columns, since plain images have no anatomical one. A ray counts when
//! the reference's wall on it is at least 1.5 px long, a sector when half of its rays count; where the prediction has no
//! wall, its T is 0.

use ndarray::Array2;

/// Sectors of a slice.
pub const SECTORS: usize = 6;
const RAYS: usize = 20;
const STEP_PX: f64 = 0.25;
const WALL_MIN_PX: f64 = 1.5;

/// (reference, predicted) transmurality in % of each sector that counts; empty for a slice without cavity or wall.
pub fn sectors(reference: &Array2<u8>, predicted: &Array2<u8>, pixel_mm: [f64; 2]) -> Vec<(f64, f64)> {
    let Some(centre) = centre(reference) else { return Vec::new() };
    let all: Vec<Option<(f64, f64)>> = (0..SECTORS * RAYS)
        .map(|ray| {
            let angle = (ray as f64 + 0.5) * std::f64::consts::TAU / (SECTORS * RAYS) as f64;
            let direction = direction(angle, pixel_mm);
            let wanted = along(reference, centre, direction)?;
            Some((wanted, along(predicted, centre, direction).unwrap_or(0.0)))
        })
        .collect();
    all.chunks(RAYS)
        .filter_map(|sector| {
            let rays: Vec<(f64, f64)> = sector.iter().flatten().copied().collect();
            let count = rays.len() as f64;
            let (a, b) = rays.iter().fold((0.0, 0.0), |(a, b), (r, p)| (a + r, b + p));
            (rays.len() * 2 >= RAYS).then(|| (a / count, b / count))
        })
        .collect()
}

/// Step of one sample, px (row, column), for an angle in mm space.
fn direction(angle: f64, [row_mm, column_mm]: [f64; 2]) -> (f64, f64) {
    let (row, column) = (angle.sin() / row_mm, angle.cos() / column_mm);
    let length = row.hypot(column);
    (row / length * STEP_PX, column / length * STEP_PX)
}

/// Centre of the cavity, px.
fn centre(labels: &Array2<u8>) -> Option<(f64, f64)> {
    let (mut rows, mut columns, mut count) = (0.0, 0.0, 0.0);
    for ((row, column), label) in labels.indexed_iter() {
        if *label == 1 {
            rows += row as f64;
            columns += column as f64;
            count += 1.0;
        }
    }
    (count > 0.0).then(|| (rows / count, columns / count))
}

/// Transmurality of a ray in %; `None` where the wall is too thin to say.
fn along(labels: &Array2<u8>, centre: (f64, f64), step: (f64, f64)) -> Option<f64> {
    let (mut wall, mut scar) = (0.0, 0.0);
    let (mut row, mut column) = centre;
    loop {
        let (r, c) = (row.round(), column.round());
        let label = (r >= 0.0 && c >= 0.0).then(|| labels.get((r as usize, c as usize))).flatten();
        let Some(label) = label else { break };
        wall += f64::from(u8::from(*label >= 2));
        scar += f64::from(u8::from(*label >= 3));
        row += step.0;
        column += step.1;
    }
    (wall * STEP_PX >= WALL_MIN_PX).then(|| 100.0 * scar / wall)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A ring of radii 20 and 40 px; scar of the given depth (share of the wall) between two angles in degrees.
    fn ring(depth: f64, from: f64, to: f64) -> Array2<u8> {
        Array2::from_shape_fn((101, 101), |(row, column)| {
            let (y, x) = (row as f64 - 50.0, column as f64 - 50.0);
            let (radius, angle) = (x.hypot(y), y.atan2(x).to_degrees().rem_euclid(360.0));
            match radius {
                r if r < 20.0 => 1,
                r if r >= 40.0 => 0,
                r if (from..to).contains(&angle) && r < 20.0 + depth * 20.0 => 3,
                _ => 2,
            }
        })
    }

    #[test]
    fn a_half_deep_scar_over_one_sector_reads_fifty_percent_there_only() {
        let found = sectors(&ring(0.5, 60.0, 120.0), &ring(0.0, 0.0, 0.0), [1.0, 1.0]);
        assert_eq!(found.len(), SECTORS);
        for (index, (reference, predicted)) in found.iter().enumerate() {
            let wanted = if index == 1 { 50.0 } else { 0.0 };
            assert!((reference - wanted).abs() < 3.0, "sector {index}: {reference}");
            assert_eq!(*predicted, 0.0);
        }
    }

    #[test]
    fn a_half_covered_sector_reads_half_and_no_cavity_reads_nothing() {
        let found = sectors(&ring(1.0, 0.0, 30.0), &ring(1.0, 0.0, 60.0), [1.0, 1.0]);
        let (reference, predicted) = found[0];
        assert!((reference - 50.0).abs() < 3.0 && predicted > 97.0, "{reference} {predicted}");
        let cap = ring(0.0, 0.0, 0.0).mapv(|label| if label == 1 { 2 } else { label });
        assert!(sectors(&cap, &cap, [1.0, 1.0]).is_empty());
    }
}
