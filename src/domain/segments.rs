//! What is known of the wall by place: the 16 segments of the AHA model, territories, lesions, and what each slice was
//! used for.

use super::measures::{AbsentReason, Measured};
use super::stack::Vector3;
use super::units::{Grams, Percent};
use serde::{Deserialize, Serialize};

/// Third of the left ventricle that a slice belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Segments 1 to 6.
    Basal,
    /// Segments 7 to 12.
    Mid,
    /// Segments 13 to 16.
    Apical,
}

/// What a slice was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SliceRole {
    /// A ring: belongs to the segments of this level.
    Ring(Level),
    /// No wall in this slice.
    Empty,
    /// At the basal end, less than half of the circumference has a wall: in the masses, in no segment.
    TooBasal,
    /// Wall without a cavity at the apical end: in the masses, in no segment.
    ApicalCap,
    /// Between rings, without a cavity or with less than half a ring: the drawing is broken here.
    Broken,
}

/// How chords through the wall were laid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChordMethod {
    /// Perpendicular to the line midway between endocardium and epicardium (Sheehan, Circulation 1986).
    Centreline,
    /// From the centre of the cavity: where the centreline is not sound.
    Radial,
}

/// Geometry of one slice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SliceRing {
    /// Index in the stack.
    pub index: usize,
    /// What it was used for.
    pub role: SliceRole,
    /// How its chords were laid; `None` without a ring.
    pub method: Option<ChordMethod>,
    /// Share of the circumference that has a wall.
    pub coverage: Percent,
}

/// How sure the anatomical directions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirectionSource {
    /// The anterior insertion of the right ventricle was given by a person.
    Given,
    /// The right ventricle was found in the images.
    Found,
    /// Only the patient's axes were used: segments are shown and not sent.
    Estimated,
}

impl DirectionSource {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Given => "anterior RV insertion given",
            Self::Found => "right ventricle found in the images",
            Self::Estimated => "estimated from the patient axes only",
        }
    }
}

/// Anatomical directions in patient space (LPS unit vectors).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Directions {
    /// How they were found.
    pub source: DirectionSource,
    /// From base to apex.
    pub base_to_apex: Vector3,
    /// From the centre of the LV to mid-septum, in the slices.
    pub septum: Vector3,
    /// Angle of the anterior RV insertion from mid-septum toward the anterior wall, degrees.
    pub anterior_insertion_deg: f64,
    /// In how many of the slices with a ring the right ventricle was found.
    pub slices_found: usize,
    /// Cavity areas and patient axes tell opposite ends apart; the areas were followed.
    pub ends_disagree: bool,
}

/// Class of transmurality from the unrounded mean over all chords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TransmuralityClass {
    /// Below 1 %.
    #[serde(rename = "0")]
    None,
    /// 1 to 25 %.
    #[serde(rename = "1-25")]
    To25,
    /// Above 25 to 50 %.
    #[serde(rename = "26-50")]
    To50,
    /// Above 50 to 75 %.
    #[serde(rename = "51-75")]
    To75,
    /// Above 75 %.
    #[serde(rename = "76-100")]
    To100,
}

impl TransmuralityClass {
    /// All, lowest first.
    pub const ALL: [Self; 5] = [Self::None, Self::To25, Self::To50, Self::To75, Self::To100];

    /// The class of an unrounded mean.
    pub fn of(mean: Percent) -> Self {
        match mean.0 {
            mean if mean < 1.0 => Self::None,
            mean if mean <= 25.0 => Self::To25,
            mean if mean <= 50.0 => Self::To50,
            mean if mean <= 75.0 => Self::To75,
            _ => Self::To100,
        }
    }

    /// As written on the bullseye, %.
    pub fn text(self) -> &'static str {
        match self {
            Self::None => "0",
            Self::To25 => "1-25",
            Self::To50 => "26-50",
            Self::To75 => "51-75",
            Self::To100 => "76-100",
        }
    }
}

/// How far scar reaches through the wall. Mean and maximum belong together and are shown together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Transmurality {
    /// Mean over all valid chords, enhanced or not, weighted by slice height.
    pub mean: Percent,
    /// Largest mean of five neighbouring chords of one slice.
    pub maximum: Percent,
    /// Mean over the enhanced chords only; absent where none is.
    pub depth: Measured<Percent>,
    /// Share of the valid chords that cross scar.
    pub enhanced: Percent,
    /// Class of the mean.
    pub class: TransmuralityClass,
}

/// One segment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SegmentMeasures {
    /// AHA number, 1 to 16. Segment 17, the apex, cannot be judged from short-axis slices and is absent.
    pub segment: u8,
    /// Transmurality.
    pub transmurality: Measured<Transmurality>,
    /// Mass of its wall.
    pub wall: Measured<Grams>,
    /// Mass of its scar incl. no-reflow.
    pub scar: Measured<Grams>,
    /// Share of its chords that are valid.
    pub valid_chords: Percent,
}

/// Coronary territory as nominally assigned to segments (Cerqueira, Circulation 2002); not the patient's own anatomy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Territory {
    /// Left anterior descending artery.
    Lad,
    /// Right coronary artery.
    Rca,
    /// Left circumflex artery.
    Lcx,
}

impl Territory {
    /// All.
    pub const ALL: [Self; 3] = [Self::Lad, Self::Rca, Self::Lcx];

    /// The territory of a segment 1 to 16.
    pub fn of(segment: u8) -> Self {
        match segment {
            1 | 2 | 7 | 8 | 13 | 14 => Self::Lad,
            3 | 4 | 9 | 10 | 15 => Self::Rca,
            _ => Self::Lcx,
        }
    }

    /// As written on pictures and tables.
    pub fn text(self) -> &'static str {
        match self {
            Self::Lad => "LAD",
            Self::Rca => "RCA",
            Self::Lcx => "LCX",
        }
    }
}

/// One territory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TerritoryMeasures {
    /// Which.
    pub territory: Territory,
    /// Transmurality over the chords of its segments.
    pub transmurality: Measured<Transmurality>,
    /// Mass of its wall.
    pub wall: Measured<Grams>,
    /// Mass of its scar.
    pub scar: Measured<Grams>,
}

/// Wall that lies in no segment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outside {
    /// Wall.
    pub wall: Measured<Grams>,
    /// Scar.
    pub scar: Measured<Grams>,
}

/// A connected lesion in one slice (8-connected).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lesion {
    /// Index of the slice in the stack.
    pub slice: usize,
    /// Number of the 3-D lesion (26-connected) that it is part of, from 1.
    pub lesion: usize,
    /// Area inside the outline at half a pixel's distance, mm^2.
    pub area_mm2: f64,
    /// Area over the area of the convex hull.
    pub solidity: f64,
    /// 4 pi area / perimeter^2, at most 1.
    pub circularity: f64,
}

/// Everything by place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segments {
    /// Chords per slice.
    pub chords_per_slice: usize,
    /// Anatomical directions; absent without orientation.
    pub directions: Measured<Directions>,
    /// Every slice, in stack order.
    pub slices: Vec<SliceRing>,
    /// Segments 1 to 16.
    pub segments: Vec<SegmentMeasures>,
    /// The three territories.
    pub territories: Vec<TerritoryMeasures>,
    /// Wall beyond the end of the cavity. Segments, cap and `outside` add up to the LV.
    pub apical_cap: Outside,
    /// Wall of slices that are too basal or broken.
    pub outside: Outside,
    /// Number of 3-D lesions (26-connected).
    pub lesion_count: usize,
    /// Lesions slice by slice.
    pub lesions: Vec<Lesion>,
}

impl Segments {
    /// Nothing by place, for one reason.
    pub fn absent(reason: AbsentReason) -> Self {
        let nothing = Outside { wall: Measured::Absent(reason), scar: Measured::Absent(reason) };
        let segment = |segment| SegmentMeasures {
            segment,
            transmurality: Measured::Absent(reason),
            wall: nothing.wall,
            scar: nothing.scar,
            valid_chords: Percent(0.0),
        };
        let territory = |territory| TerritoryMeasures {
            territory,
            transmurality: Measured::Absent(reason),
            wall: nothing.wall,
            scar: nothing.scar,
        };
        Self {
            chords_per_slice: 0,
            directions: Measured::Absent(reason),
            slices: Vec::new(),
            segments: (1..=16).map(segment).collect(),
            territories: Territory::ALL.map(territory).to_vec(),
            apical_cap: nothing,
            outside: nothing,
            lesion_count: 0,
            lesions: Vec::new(),
        }
    }

    /// Results of versions that did not measure by place.
    pub fn not_measured() -> Self {
        Self::absent(AbsentReason::NotApplicable)
    }

    /// What may leave for another system: directions that are only estimated keep segments here.
    pub fn sendable(&self, segment: &SegmentMeasures) -> Measured<Transmurality> {
        match self.directions.value() {
            Some(directions) if directions.source == DirectionSource::Estimated => {
                Measured::Absent(match segment.transmurality {
                    Measured::Absent(reason) => reason,
                    Measured::Value(_) => AbsentReason::DirectionsEstimated,
                })
            }
            _ => segment.transmurality,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_of_the_unrounded_mean() {
        let classes = [0.0, 0.99, 1.0, 25.0, 25.01, 50.0, 50.4, 75.0, 75.0001, 100.0];
        let texts = classes.map(|mean| TransmuralityClass::of(Percent(mean)).text());
        assert_eq!(texts, ["0", "0", "1-25", "1-25", "26-50", "26-50", "51-75", "51-75", "76-100", "76-100"]);
    }

    #[test]
    fn territories_are_those_of_cerqueira() {
        let of = |wanted| (1..=16).filter(|s| Territory::of(*s) == wanted).collect::<Vec<u8>>();
        assert_eq!(of(Territory::Lad), [1, 2, 7, 8, 13, 14]);
        assert_eq!(of(Territory::Rca), [3, 4, 9, 10, 15]);
        assert_eq!(of(Territory::Lcx), [5, 6, 11, 12, 16]);
    }
}
