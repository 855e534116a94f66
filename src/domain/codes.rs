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

/// Codes of the Observations of a result, panel first.
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
pub const PRIVATE_CODES: [Code; 12] = [
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
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fit_their_dicom_value_representations() {
        for code in PRIVATE_CODES {
            assert!(code.value.len() <= 16 && code.meaning.len() <= 64 && code.scheme.len() <= 16, "{code:?}");
        }
    }
}
