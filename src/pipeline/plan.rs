//! Which artefact goes where, and what waits for a person.

use crate::config::{Config, Release};
use crate::domain::artefact::{Artefact, ArtefactKind};
use crate::domain::delivery::{Destination, DestinationMode};
use crate::domain::measures::{Measures, QualityGrade};
use crate::failure::Code;
use crate::store::NewDelivery;

/// The deliveries of a result, in the order in which each destination gets them.
pub fn plan(config: &Config, measures: &Measures, artefacts: &[Artefact]) -> Vec<NewDelivery> {
    artefacts.iter().filter_map(|artefact| delivery(config, measures, artefact)).collect()
}

fn delivery(config: &Config, measures: &Measures, artefact: &Artefact) -> Option<NewDelivery> {
    let destination = match artefact.kind {
        ArtefactKind::Seg | ArtefactKind::Sr | ArtefactKind::ResultImage | ArtefactKind::RejectionNote => {
            Destination::Pacs
        }
        ArtefactKind::FhirBundle => Destination::Ehr,
        ArtefactKind::Measures | ArtefactKind::Report | ArtefactKind::Overlay => return None,
    };
    let (mode, review) = match destination {
        Destination::Pacs => (config.pacs.mode, false),
        Destination::Ehr => (config.ehr.mode, waits_for_review(config.ehr.release, measures)),
    };
    match mode {
        DestinationMode::Off => None,
        DestinationMode::On if !review => Some(NewDelivery::now(destination, &artefact.name)),
        DestinationMode::On => Some(NewDelivery::held(destination, &artefact.name, Code::NeedsReview)),
        DestinationMode::Hold => Some(NewDelivery::held(destination, &artefact.name, Code::DestinationHeld)),
    }
}

/// A flagged or low-quality result is never posted before a person looked at it, whatever the release mode.
fn waits_for_review(release: Release, measures: &Measures) -> bool {
    release == Release::OnSignoff || !measures.review_flags.is_empty() || measures.quality.grade != QualityGrade::Good
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::tests::defaults;
    use crate::domain::measures::{AbsentReason, Quality, ReviewFlag};

    fn measures(grade: QualityGrade, review_flags: Vec<ReviewFlag>) -> Measures {
        let quality = Quality { grade, reasons: vec![] };
        Measures { review_flags, ..Measures::absent(quality, AbsentReason::NotApplicable) }
    }

    fn artefacts() -> Vec<Artefact> {
        let kinds = [ArtefactKind::Seg, ArtefactKind::FhirBundle, ArtefactKind::Measures, ArtefactKind::Overlay];
        kinds.map(|kind| Artefact { kind, name: kind.name().into(), dicom: None, bytes: vec![] }).to_vec()
    }

    fn holds(pacs: DestinationMode, ehr: DestinationMode, release: Release, measures: &Measures) -> Vec<String> {
        let mut config = defaults();
        (config.pacs.mode, config.ehr.mode, config.ehr.release) = (pacs, ehr, release);
        let text = |d: NewDelivery| format!("{}:{}", d.destination.name(), d.hold.map_or("now", Code::as_str));
        plan(&config, measures, &artefacts()).into_iter().map(text).collect()
    }

    #[test]
    fn nothing_leaves_for_the_ehr_before_a_signature_unless_the_site_says_so() {
        use DestinationMode::{Hold, Off, On};
        let good = measures(QualityGrade::Good, vec![]);
        assert_eq!(holds(On, On, Release::OnSignoff, &good), ["pacs:now", "ehr:needs-review"]);
        assert_eq!(holds(On, On, Release::OnAnalysis, &good), ["pacs:now", "ehr:now"]);
        assert_eq!(holds(Off, Off, Release::OnAnalysis, &good), [""; 0]);
        assert_eq!(holds(Hold, Hold, Release::OnAnalysis, &good), ["pacs:destination-held", "ehr:destination-held"]);
    }

    #[test]
    fn flagged_or_poor_results_wait_for_a_person_even_on_analysis() {
        use DestinationMode::On;
        let flagged = measures(QualityGrade::Good, vec![ReviewFlag::BurdenOutsideTraining]);
        let poor = measures(QualityGrade::Limited, vec![]);
        for measures in [flagged, poor] {
            assert_eq!(holds(On, On, Release::OnAnalysis, &measures), ["pacs:now", "ehr:needs-review"]);
        }
    }
}
