//! Coded concepts, each once: DICOM triplets and the FHIR systems they map to.

/// A coded concept (PS3.3 section 8): code value, scheme designator, meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code {
    /// CodeValue (0008,0100).
    pub value: &'static str,
    /// CodingSchemeDesignator (0008,0102).
    pub scheme: &'static str,
    /// CodeMeaning (0008,0104).
    pub meaning: &'static str,
}

/// Designator of our private scheme (PS3.16 section 8: starts with `99`).
pub const PRIVATE_SCHEME: &str = "99SCARGATE";
/// Name of our private scheme.
pub const PRIVATE_SCHEME_NAME: &str = "scargate LGE measures";
/// FHIR system of our private scheme.
pub const PRIVATE_SYSTEM: &str = "https://scargate.org/fhir/CodeSystem/lge";
/// FHIR identifier system of our result lines.
pub const LINE_IDENTIFIER_SYSTEM: &str = "https://scargate.org/fhir/identifier/lge-line";

const fn sct(value: &'static str, meaning: &'static str) -> Code {
    Code { value, scheme: "SCT", meaning }
}
const fn dcm(value: &'static str, meaning: &'static str) -> Code {
    Code { value, scheme: "DCM", meaning }
}
const fn own(value: &'static str, meaning: &'static str) -> Code {
    Code { value, scheme: PRIVATE_SCHEME, meaning }
}

impl Code {
    /// FHIR system URI of the scheme.
    pub fn fhir_system(&self) -> &'static str {
        match self.scheme {
            "SCT" => "http://snomed.info/sct",
            "DCM" => "http://dicom.nema.org/resources/ontology/DCM",
            "LN" => "http://loinc.org",
            "UCUM" => "http://unitsofmeasure.org",
            _ => PRIVATE_SYSTEM,
        }
    }
}

/// Category: anatomical structure.
pub const ANATOMICAL_STRUCTURE: Code = sct("91723000", "Anatomical Structure");
/// Category: tissue.
pub const TISSUE: Code = sct("85756007", "Tissue");
/// Category: morphologically abnormal structure.
pub const MORPHOLOGICALLY_ABNORMAL: Code = sct("49755003", "Morphologically Abnormal Structure");
/// LV myocardium.
pub const LV_MYOCARDIUM: Code = sct("49848007", "Left Ventricle Myocardium");
/// Blood.
pub const BLOOD: Code = sct("87612001", "Blood");
/// Left ventricle.
pub const LEFT_VENTRICLE: Code = sct("87878005", "Left ventricle");
/// Scar tissue.
pub const SCAR_TISSUE: Code = sct("12402003", "Scar tissue");
/// No-reflow region; no standard code exists.
pub const NO_REFLOW_REGION: Code = own("LGE-MVO", "Microvascular obstruction (no-reflow) region");
/// Algorithm family.
pub const ARTIFICIAL_INTELLIGENCE: Code = dcm("123110", "Artificial Intelligence");
/// Derivation by segmentation.
pub const SEGMENTATION: Code = dcm("113076", "Segmentation");
/// Purpose of a source image.
pub const SOURCE_IMAGE: Code = dcm("121322", "Source image for image processing operation");
/// Mass, as a SNOMED quantity.
pub const MASS: Code = sct("118538004", "Mass");

/// Unit: gram.
pub const GRAM: Code = Code { value: "g", scheme: "UCUM", meaning: "g" };
/// Unit: percent.
pub const PERCENT: Code = Code { value: "%", scheme: "UCUM", meaning: "%" };

/// Title of the structured report.
pub const IMAGING_MEASUREMENT_REPORT: Code = dcm("126000", "Imaging Measurement Report");
/// Language of the document.
pub const LANGUAGE: Code = dcm("121049", "Language of Content Item and Descendants");
/// English.
pub const ENGLISH: Code = Code { value: "en-US", scheme: "RFC5646", meaning: "English (United States)" };
/// Who or what observed.
pub const OBSERVER_TYPE: Code = dcm("121005", "Observer Type");
/// A device observed.
pub const DEVICE: Code = dcm("121007", "Device");
/// UID of the device.
pub const DEVICE_OBSERVER_UID: Code = dcm("121012", "Device Observer UID");
/// Name of the device.
pub const DEVICE_OBSERVER_NAME: Code = dcm("121013", "Device Observer Name");
/// Its manufacturer.
pub const DEVICE_OBSERVER_MANUFACTURER: Code = dcm("121014", "Device Observer Manufacturer");
/// Its model.
pub const DEVICE_OBSERVER_MODEL_NAME: Code = dcm("121015", "Device Observer Model Name");
/// Its serial number.
pub const DEVICE_OBSERVER_SERIAL_NUMBER: Code = dcm("121016", "Device Observer Serial Number");
/// What was reported on.
pub const PROCEDURE_REPORTED: Code = dcm("121058", "Procedure reported");
/// Cardiac MR.
pub const CARDIAC_MRI: Code = sct("241620005", "Cardiac MRI");
/// All images that were analysed.
pub const IMAGE_LIBRARY: Code = dcm("111028", "Image Library");
/// Images with a common descriptor.
pub const IMAGE_LIBRARY_GROUP: Code = dcm("126200", "Image Library Group");
/// The numbers.
pub const IMAGING_MEASUREMENTS: Code = dcm("126010", "Imaging Measurements");
/// Numbers of one thing.
pub const MEASUREMENT_GROUP: Code = dcm("125007", "Measurement Group");
/// What is said in words and codes.
pub const QUALITATIVE_EVALUATIONS: Code =
    Code { value: "C0034375", scheme: "UMLS", meaning: "Qualitative Evaluations" };
/// Name of what is followed.
pub const TRACKING_IDENTIFIER: Code = dcm("112039", "Tracking Identifier");
/// UID of what is followed.
pub const TRACKING_UNIQUE_IDENTIFIER: Code = dcm("112040", "Tracking Unique Identifier");
/// Category of a finding.
pub const FINDING_CATEGORY: Code = sct("276214006", "Finding category");
/// A finding.
pub const FINDING: Code = dcm("121071", "Finding");
/// Where it is.
pub const FINDING_SITE: Code = sct("363698007", "Finding Site");
/// Segment of a SEG that was measured.
pub const REFERENCED_SEGMENT: Code = dcm("121191", "Referenced Segment");
/// Series that was segmented.
pub const SOURCE_SERIES_FOR_SEGMENTATION: Code = dcm("121232", "Source series for segmentation");
/// Image that was segmented.
pub const SOURCE_IMAGE_FOR_SEGMENTATION: Code = dcm("121233", "Source image for segmentation");
/// Name of the software.
pub const ALGORITHM_NAME: Code = dcm("111001", "Algorithm Name");
/// Version of the software.
pub const ALGORITHM_VERSION: Code = dcm("111003", "Algorithm Version");
/// Models and constants.
pub const ALGORITHM_PARAMETERS: Code = dcm("111002", "Algorithm Parameters");
/// A remark.
pub const COMMENT: Code = dcm("121106", "Comment");
/// Title of a rejection note (IHE IOCM).
pub const REJECTED_FOR_QUALITY: Code = dcm("113001", "Rejected for Quality Reasons");
/// Reason of a title.
pub const DOCUMENT_TITLE_MODIFIER: Code = dcm("113011", "Document Title Modifier");
/// A reason that CID 7011 does not list.
pub const OTHER_FAILURE: Code = dcm("111220", "Other failure");
/// Words about selected objects.
pub const KEY_OBJECT_DESCRIPTION: Code = dcm("113012", "Key Object Description");

/// Panel of all measures.
pub const LGE_QUANTIFICATION: Code = own("LGE-QUANT", "LGE quantification, left ventricle");
/// LV mass.
pub const LV_MASS: Code = own("LGE-LV-MASS", "LV mass from LGE short axis");
/// Scar mass.
pub const SCAR_MASS: Code = own("LGE-SCAR-MASS", "LGE mass incl. no-reflow (infarct/scar)");
/// Scar burden.
pub const SCAR_BURDEN: Code = own("LGE-BURDEN", "LGE mass incl. no-reflow as percentage of LV mass");
/// No-reflow mass.
pub const NO_REFLOW_MASS: Code = own("LGE-MVO-MASS", "No-reflow mass");
/// No-reflow as % of LV mass.
pub const NO_REFLOW_OF_LV: Code = own("LGE-MVO-LV", "No-reflow mass as percentage of LV mass");
/// No-reflow as % of scar.
pub const NO_REFLOW_OF_SCAR: Code = own("LGE-MVO-SCAR", "No-reflow mass as percentage of LGE mass");
/// Image quality.
pub const IMAGE_QUALITY: Code = own("LGE-QUALITY", "LGE image quality for quantification");
/// Image quality: good.
pub const QUALITY_GOOD: Code = own("LGE-Q-GOOD", "Good image quality");
/// Image quality: limited.
pub const QUALITY_LIMITED: Code = own("LGE-Q-LIMITED", "Limited image quality");
/// Image quality: not usable.
pub const QUALITY_NOT_USABLE: Code = own("LGE-Q-UNUSABLE", "Image quality does not allow a measurement");

/// Transmurality of an AHA segment: mean over its chords.
pub const TRANSMURALITY: Code = own("LGE-TRANSM", "LGE transmurality, mean over all chords of the segment");
/// Its maximum.
pub const TRANSMURALITY_MAX: Code =
    own("LGE-TRANSM-MAX", "LGE transmurality, largest mean of five neighbouring chords");
/// Depth over enhanced chords.
pub const TRANSMURALITY_DEPTH: Code = own("LGE-TRANSM-DEPTH", "LGE transmurality, mean over the enhanced chords");
/// Share of enhanced chords.
pub const ENHANCED_SHARE: Code = own("LGE-SEG-PCT", "Share of the segment's chords that cross LGE");
/// Class of the mean.
pub const TRANSMURALITY_CLASS: Code = own("LGE-TRANSM-CLASS", "Class of LGE transmurality");
/// The classes, lowest first.
pub const TRANSMURALITY_CLASSES: [Code; 5] = [
    own("LGE-TC-0", "LGE transmurality below 1 %"),
    own("LGE-TC-25", "LGE transmurality 1 to 25 %"),
    own("LGE-TC-50", "LGE transmurality above 25 to 50 %"),
    own("LGE-TC-75", "LGE transmurality above 50 to 75 %"),
    own("LGE-TC-100", "LGE transmurality above 75 %"),
];
/// All segments in one Observation.
pub const TRANSMURALITY_ALL: Code = own("LGE-TRANSM-ALL", "LGE transmurality of the AHA segments 1 to 16");
/// Components of that one: mean of each segment.
pub const TRANSMURALITY_MEANS: [Code; 16] = [
    own("LGE-TM-01", "LGE transmurality, mean, AHA segment 1"),
    own("LGE-TM-02", "LGE transmurality, mean, AHA segment 2"),
    own("LGE-TM-03", "LGE transmurality, mean, AHA segment 3"),
    own("LGE-TM-04", "LGE transmurality, mean, AHA segment 4"),
    own("LGE-TM-05", "LGE transmurality, mean, AHA segment 5"),
    own("LGE-TM-06", "LGE transmurality, mean, AHA segment 6"),
    own("LGE-TM-07", "LGE transmurality, mean, AHA segment 7"),
    own("LGE-TM-08", "LGE transmurality, mean, AHA segment 8"),
    own("LGE-TM-09", "LGE transmurality, mean, AHA segment 9"),
    own("LGE-TM-10", "LGE transmurality, mean, AHA segment 10"),
    own("LGE-TM-11", "LGE transmurality, mean, AHA segment 11"),
    own("LGE-TM-12", "LGE transmurality, mean, AHA segment 12"),
    own("LGE-TM-13", "LGE transmurality, mean, AHA segment 13"),
    own("LGE-TM-14", "LGE transmurality, mean, AHA segment 14"),
    own("LGE-TM-15", "LGE transmurality, mean, AHA segment 15"),
    own("LGE-TM-16", "LGE transmurality, mean, AHA segment 16"),
];
/// Components of that one: maximum of each segment.
pub const TRANSMURALITY_MAXIMA: [Code; 16] = [
    own("LGE-TX-01", "LGE transmurality, maximum, AHA segment 1"),
    own("LGE-TX-02", "LGE transmurality, maximum, AHA segment 2"),
    own("LGE-TX-03", "LGE transmurality, maximum, AHA segment 3"),
    own("LGE-TX-04", "LGE transmurality, maximum, AHA segment 4"),
    own("LGE-TX-05", "LGE transmurality, maximum, AHA segment 5"),
    own("LGE-TX-06", "LGE transmurality, maximum, AHA segment 6"),
    own("LGE-TX-07", "LGE transmurality, maximum, AHA segment 7"),
    own("LGE-TX-08", "LGE transmurality, maximum, AHA segment 8"),
    own("LGE-TX-09", "LGE transmurality, maximum, AHA segment 9"),
    own("LGE-TX-10", "LGE transmurality, maximum, AHA segment 10"),
    own("LGE-TX-11", "LGE transmurality, maximum, AHA segment 11"),
    own("LGE-TX-12", "LGE transmurality, maximum, AHA segment 12"),
    own("LGE-TX-13", "LGE transmurality, maximum, AHA segment 13"),
    own("LGE-TX-14", "LGE transmurality, maximum, AHA segment 14"),
    own("LGE-TX-15", "LGE transmurality, maximum, AHA segment 15"),
    own("LGE-TX-16", "LGE transmurality, maximum, AHA segment 16"),
];

/// Left ventricular segments 1 to 16 in the order of the AHA numbers (DICOM CID 3717).
pub const AHA_SEGMENTS: [Code; 16] = [
    sct("264850008", "left ventricle basal anterior segment"),
    sct("396482007", "left ventricle basal anteroseptal segment"),
    sct("396646008", "left ventricle basal inferoseptal segment"),
    sct("264846001", "left ventricle basal inferior segment"),
    sct("396652009", "left ventricle basal inferolateral segment"),
    sct("396654005", "left ventricle basal anterolateral segment"),
    sct("264848000", "left ventricle mid anterior segment"),
    sct("396647004", "left ventricle mid anteroseptal segment"),
    sct("396649001", "left ventricle mid inferoseptal segment"),
    sct("264847005", "left ventricle mid inferior segment"),
    sct("396655006", "left ventricle mid inferolateral segment"),
    sct("396656007", "left ventricle mid anterolateral segment"),
    sct("264844003", "left ventricle apical anterior segment"),
    sct("264845002", "left ventricle apical septal segment"),
    sct("264849008", "left ventricle apical inferior segment"),
    sct("264853005", "left ventricle apical lateral segment"),
];

/// Codes of the Observations of a result that stand once, panel first; those of segments stand 16 times.
pub const OBSERVATION_CODES: [Code; 8] = [
    LGE_QUANTIFICATION,
    IMAGE_QUALITY,
    LV_MASS,
    SCAR_MASS,
    SCAR_BURDEN,
    NO_REFLOW_MASS,
    NO_REFLOW_OF_LV,
    NO_REFLOW_OF_SCAR,
];

/// Every private code with its meaning: the CodeSystem that we serve.
pub fn private_codes() -> Vec<Code> {
    let single = [
        NO_REFLOW_REGION,
        LGE_QUANTIFICATION,
        LV_MASS,
        SCAR_MASS,
        SCAR_BURDEN,
        NO_REFLOW_MASS,
        NO_REFLOW_OF_LV,
        NO_REFLOW_OF_SCAR,
        IMAGE_QUALITY,
        QUALITY_GOOD,
        QUALITY_LIMITED,
        QUALITY_NOT_USABLE,
        TRANSMURALITY,
        TRANSMURALITY_MAX,
        TRANSMURALITY_DEPTH,
        ENHANCED_SHARE,
        TRANSMURALITY_CLASS,
        TRANSMURALITY_ALL,
    ];
    [&single[..], &TRANSMURALITY_CLASSES, &TRANSMURALITY_MEANS, &TRANSMURALITY_MAXIMA].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fit_their_dicom_value_representations() {
        for code in private_codes().into_iter().chain(AHA_SEGMENTS) {
            assert!(code.value.len() <= 16 && code.meaning.len() <= 64 && code.scheme.len() <= 16, "{code:?}");
        }
        let values: std::collections::BTreeSet<&str> = private_codes().iter().map(|code| code.value).collect();
        assert_eq!(values.len(), private_codes().len(), "no code stands twice");
    }
}
