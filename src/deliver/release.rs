//! Whether a new result may leave at once, or waits for a person.

use crate::config::Release;
use crate::domain::delivery::{Destination, DestinationMode};
use crate::domain::measures::{Measures, QualityGrade};
use crate::failure::Code;

/// What happens to a new delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// No row in the outbox.
    Nothing,
    /// Queued; goes when its turn comes.
    Send,
    /// Queued and held with this code until a person releases it.
    Hold(Code),
}

/// Decides for an unsigned result. The PACS gets the unverified SEG at once (it is where a person reviews it); the EHR
/// gets a preliminary result only where the site chose `on-analysis`, and never one with a review flag or without good
/// image quality.
pub fn decide(destination: Destination, mode: DestinationMode, release: Release, measures: &Measures) -> Decision {
    match (mode, destination) {
        (DestinationMode::Off, _) => Decision::Nothing,
        (DestinationMode::Hold, _) => Decision::Hold(Code::DestinationHeld),
        (DestinationMode::On, Destination::Pacs) => Decision::Send,
        (DestinationMode::On, Destination::Ehr) => {
            let flagged = !measures.review_flags.is_empty() || measures.quality.grade != QualityGrade::Good;
            if release == Release::OnAnalysis && !flagged { Decision::Send } else { Decision::Hold(Code::NeedsReview) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::measures::{AbsentReason, Measured, Quality, ReviewFlag};

    fn measures(grade: QualityGrade, review_flags: Vec<ReviewFlag>) -> Measures {
        let absent = || Measured::Absent(AbsentReason::NotApplicable);
        Measures {
            quality: Quality { grade, reasons: Vec::new() },
            lv_mass: Measured::Absent(AbsentReason::NotApplicable),
            scar_mass: Measured::Absent(AbsentReason::NotApplicable),
            burden: absent(),
            no_reflow_mass: Measured::Absent(AbsentReason::NotApplicable),
            no_reflow_of_myocardium: absent(),
            no_reflow_of_scar: absent(),
            scar_mass_sensitivity: Measured::Absent(AbsentReason::NotApplicable),
            slices: Vec::new(),
            slices_in_stack: 0,
            stack_flags: Vec::new(),
            review_flags,
        }
    }

    #[test]
    fn only_a_clean_result_leaves_unsigned_and_only_where_the_site_said_so() {
        use {Decision::*, Destination::*, DestinationMode::*, QualityGrade::*, Release::*};
        let clean = measures(Good, vec![]);
        let flagged = measures(Good, vec![ReviewFlag::WholeRingEnhanced]);
        let limited = measures(Limited, vec![]);
        let table = [
            (Ehr, Off, OnAnalysis, &clean, Nothing),
            (Ehr, DestinationMode::Hold, OnAnalysis, &clean, Decision::Hold(Code::DestinationHeld)),
            (Ehr, On, OnAnalysis, &clean, Send),
            (Ehr, On, OnAnalysis, &flagged, Decision::Hold(Code::NeedsReview)),
            (Ehr, On, OnAnalysis, &limited, Decision::Hold(Code::NeedsReview)),
            (Ehr, On, OnSignoff, &clean, Decision::Hold(Code::NeedsReview)),
            (Pacs, On, OnSignoff, &flagged, Send),
            (Pacs, Off, OnAnalysis, &clean, Nothing),
        ];
        for (destination, mode, release, measures, expected) in table {
            assert_eq!(decide(destination, mode, release, measures), expected, "{destination:?} {mode:?} {release:?}");
        }
    }
}
