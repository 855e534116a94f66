//! Measurement groups: the segments of the SEG (TID 1411) and the AHA segments (TID 1501).

use super::Facts;
use super::item::{self, Relation, coded, container, number, uid, words};
use crate::domain::codes::{self, Code};
use crate::domain::labels::Region;
use crate::domain::measures::Measured;
use crate::domain::segments::SegmentMeasures;
use crate::domain::uid::Uid;
use crate::domain::units::{Grams, Percent};
use crate::encode::dicom::Object;
use crate::encode::fhir::round;
use crate::encode::object::{MANUFACTURER, model_texts, sources_by_series};
use crate::encode::seg::{self, header::look};

/// A number of a group.
struct Row {
    name: Code,
    value: Measured<f64>,
    unit: Code,
}

fn grams(name: Code, value: Measured<Grams>) -> Row {
    Row { name, value: value.map(|v| round(v.0)), unit: codes::GRAM }
}

fn percent(name: Code, value: Measured<Percent>) -> Row {
    Row { name, value: value.map(|v| round(v.0)), unit: codes::PERCENT }
}

/// All groups, whole ventricle first, then place by place.
pub(super) fn all(facts: &Facts<'_>) -> Vec<Object> {
    let measures = facts.measures;
    let mut scar = vec![grams(codes::MASS, measures.scar_mass), percent(codes::SCAR_BURDEN, measures.burden)];
    let no_reflow = vec![
        grams(codes::MASS, measures.no_reflow_mass),
        percent(codes::NO_REFLOW_OF_LV, measures.no_reflow_of_myocardium),
        percent(codes::NO_REFLOW_OF_SCAR, measures.no_reflow_of_scar),
    ];
    let mut groups = vec![region(facts, Region::Myocardium, vec![grams(codes::MASS, measures.lv_mass)])];
    if facts.labels.no_reflow {
        groups.extend([region(facts, Region::Scar, scar), region(facts, Region::NoReflow, no_reflow)]);
    } else {
        // There is no segment to refer to: that it is withheld is said beside the scar that it counts as.
        let named = grams(codes::NO_REFLOW_MASS, measures.no_reflow_mass);
        scar.extend(no_reflow.into_iter().skip(1).chain([named]));
        groups.push(region(facts, Region::Scar, scar));
    }
    let places = measures.segments.segments.iter().zip(codes::AHA_SEGMENTS);
    groups.extend(places.filter_map(|(segment, site)| aha(facts, segment, site)));
    groups
}

/// TID 1411 on a segment of our SEG.
fn region(facts: &Facts<'_>, region: Region, rows: Vec<Row>) -> Object {
    let look = look(region);
    let segment_number = segment_number(region);
    let study = &facts.stack.identity.study;
    let mut content = vec![
        words(Relation::HasObservationContext, codes::TRACKING_IDENTIFIER, look.label),
        uid(
            Relation::HasObservationContext,
            codes::TRACKING_UNIQUE_IDENTIFIER,
            &seg::tracking(study, facts.context, segment_number),
        ),
        coded(Relation::Contains, codes::FINDING_CATEGORY, look.category),
        coded(Relation::Contains, codes::FINDING, look.kind),
        item::segment(codes::REFERENCED_SEGMENT, &facts.seg.sop_class, &facts.seg.sop_instance, segment_number),
    ];
    let series = sources_by_series(facts.stack);
    // One series is named as a whole; of several, the images are.
    match series.as_slice() {
        [(series, _)] => content.push(uid(Relation::Contains, codes::SOURCE_SERIES_FOR_SEGMENTATION, series)),
        several => content.extend(several.iter().flat_map(|(_, sources)| sources).map(|source| {
            item::source_image(codes::SOURCE_IMAGE_FOR_SEGMENTATION, &source.sop_class, &source.sop_instance)
        })),
    }
    content.push(coded(Relation::HasConceptModifier, codes::FINDING_SITE, codes::LV_MYOCARDIUM));
    content.extend(algorithm(facts));
    content.extend(numbers(rows));
    measurement_group("1411", content)
}

fn segment_number(region: Region) -> u16 {
    Region::ALL.into_iter().zip(1u16..).find(|(r, _)| *r == region).map_or(0, |(_, number)| number)
}

/// TID 1501 for one AHA segment; none where nothing may be said of it.
fn aha(facts: &Facts<'_>, segment: &SegmentMeasures, site: Code) -> Option<Object> {
    let sendable = facts.measures.segments.sendable(segment);
    let Measured::Value(transmurality) = sendable else { return None };
    let study = &facts.stack.identity.study;
    let role = format!("track-aha-{:02}", segment.segment);
    let tracking = Uid::derive_output(study, facts.context.revision, &role, &facts.context.act);
    let rows = vec![
        percent(codes::TRANSMURALITY, Measured::Value(transmurality.mean)),
        percent(codes::TRANSMURALITY_MAX, Measured::Value(transmurality.maximum)),
        percent(codes::ENHANCED_SHARE, Measured::Value(transmurality.enhanced)),
    ];
    let mut content = vec![
        words(Relation::HasObservationContext, codes::TRACKING_IDENTIFIER, &format!("AHA {}", segment.segment)),
        uid(Relation::HasObservationContext, codes::TRACKING_UNIQUE_IDENTIFIER, &tracking),
        coded(Relation::Contains, codes::FINDING_CATEGORY, codes::TISSUE),
        coded(Relation::Contains, codes::FINDING, codes::SCAR_TISSUE),
        coded(Relation::HasConceptModifier, codes::FINDING_SITE, site),
    ];
    content.extend(algorithm(facts));
    content.extend(numbers(rows));
    Some(measurement_group("1501", content))
}

fn measurement_group(template: &str, content: Vec<Object>) -> Object {
    let mut group = container(codes::MEASUREMENT_GROUP, content);
    item::template(&mut group, template);
    group
}

/// TID 4019: what computed the numbers.
fn algorithm(facts: &Facts<'_>) -> Vec<Object> {
    let modifier = |name, value: &str| words(Relation::HasConceptModifier, name, value);
    let mut items = vec![
        modifier(codes::ALGORITHM_NAME, MANUFACTURER),
        modifier(codes::ALGORITHM_VERSION, env!("CARGO_PKG_VERSION")),
    ];
    items.extend(model_texts(&facts.labels.models).iter().map(|text| modifier(codes::ALGORITHM_PARAMETERS, text)));
    let density = format!("myocardial density {} g/mL", crate::domain::units::MYOCARDIAL_DENSITY_G_PER_ML);
    items.push(modifier(codes::ALGORITHM_PARAMETERS, &density));
    items
}

/// The numbers. One that is absent is said in words instead: an empty MeasuredValueSequence is legal (type 2), but common
/// readers fall over it.
fn numbers(rows: Vec<Row>) -> Vec<Object> {
    rows.into_iter()
        .map(|row| match row.value {
            Measured::Value(value) => number(row.name, value, row.unit),
            Measured::Absent(reason) => {
                let text = format!("{}: no value, {}", row.name.meaning, reason.text());
                words(Relation::Contains, codes::COMMENT, &text)
            }
        })
        .collect()
}
