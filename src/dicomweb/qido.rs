//! Searches (QIDO-RS) and metadata (WADO-RS): what the PACS holds, page by page.

use super::error::Error;
use super::json::{self, Attributes};
use super::transport::Body;
use super::{Client, JSON};
use crate::domain::identity::PatientKey;
use crate::domain::uid::Uid;
use crate::failure::Failure;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use reqwest::StatusCode;
use std::collections::BTreeSet;
use std::time::Duration;
use time::Date;

/// Studies that one search lists at most.
const STUDIES_MAX: usize = 100_000;

/// Which studies to list; empty fields match all.
#[derive(Debug, Clone, Default)]
pub struct StudyQuery {
    /// First StudyDate.
    pub from: Option<Date>,
    /// Last StudyDate.
    pub to: Option<Date>,
    /// Only studies with a series of this modality, e.g. `MR`.
    pub modality: Option<String>,
    /// Only this study.
    pub study: Option<Uid>,
}

/// A study as the PACS lists it. `Debug` of the patient key is redacted.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyEntry {
    /// StudyInstanceUID.
    pub study: Uid,
    /// StudyDate, `YYYYMMDD` or empty.
    pub study_date: String,
    /// NumberOfStudyRelatedInstances; `None` when the PACS does not say.
    pub instances: Option<u64>,
    /// ModalitiesInStudy; empty when the PACS does not say.
    pub modalities: Vec<String>,
    /// Whose study it is.
    pub patient: PatientKey,
}

/// A series as the PACS lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesEntry {
    /// SeriesInstanceUID.
    pub series: Uid,
    /// Modality; empty when the PACS does not say.
    pub modality: String,
    /// NumberOfSeriesRelatedInstances.
    pub instances: Option<u64>,
}

/// An instance as the PACS lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceEntry {
    /// SOPClassUID; `None` when the PACS does not say.
    pub sop_class: Option<Uid>,
    /// SOPInstanceUID.
    pub sop_instance: Uid,
    /// SeriesInstanceUID.
    pub series: Uid,
    /// Modality; empty when the PACS does not say.
    pub modality: String,
}

impl Client {
    /// Lists studies, all pages.
    ///
    /// # Errors
    /// Transient when the PACS is away; permanent when it refuses or does not speak DICOMweb.
    pub async fn search_studies(&self, query: &StudyQuery) -> Result<Vec<StudyEntry>, Failure> {
        let found = self.search(&["studies"], &query.parameters(), tags::STUDY_INSTANCE_UID, STUDIES_MAX).await?;
        // Chosen here and not by the PACS: Orthanc 1.10 filters by ModalitiesInStudy after it counted limit and offset, so
        // that every page but the first is empty and studies would be lost without a word.
        let has = |entry: &StudyEntry| {
            query
                .modality
                .as_ref()
                .is_none_or(|wanted| entry.modalities.is_empty() || entry.modalities.contains(wanted))
        };
        Ok(found.iter().filter_map(StudyEntry::of).filter(has).collect())
    }

    /// Lists the series of a study.
    ///
    /// # Errors
    /// As [`Client::search_studies`]; `study-not-found` when the PACS says so. A study that is gone may also be empty.
    pub async fn list_series(&self, study: &Uid) -> Result<Vec<SeriesEntry>, Failure> {
        let path = ["studies", study.as_str(), "series"];
        let parameters = include(&[tags::MODALITY, tags::NUMBER_OF_SERIES_RELATED_INSTANCES]);
        let found = self.search(&path, &parameters, tags::SERIES_INSTANCE_UID, self.limits.study_instances).await?;
        Ok(found.iter().filter_map(SeriesEntry::of).collect())
    }

    /// Lists the instances of a study: SOP class, SOP instance, series and modality of each.
    ///
    /// # Errors
    /// As [`Client::list_series`]; `study-too-large` above `limits.study_instances`.
    pub async fn list_instances(&self, study: &Uid) -> Result<Vec<InstanceEntry>, Failure> {
        let path = ["studies", study.as_str(), "instances"];
        let parameters = include(&[tags::SOP_CLASS_UID, tags::SERIES_INSTANCE_UID, tags::MODALITY]);
        let found = self.search(&path, &parameters, tags::SOP_INSTANCE_UID, self.limits.study_instances).await?;
        Ok(found.iter().filter_map(InstanceEntry::of).collect())
    }

    /// Whether the PACS lists this instance. To be asked after a store whose answer was lost.
    ///
    /// # Errors
    /// As [`Client::search_studies`].
    pub async fn holds_instance(&self, study: &Uid, sop_instance: &Uid) -> Result<bool, Failure> {
        let path = ["studies", study.as_str(), "instances"];
        let parameters = vec![("SOPInstanceUID".to_owned(), sop_instance.to_string())];
        match self.search(&path, &parameters, tags::SOP_INSTANCE_UID, 10).await {
            Ok(found) => Ok(found.iter().any(|e| e.uid(tags::SOP_INSTANCE_UID).as_ref() == Some(sop_instance))),
            Err(Error::NotFound) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// All attributes of the instances of a series but bulk data, which is given by reference.
    ///
    /// # Errors
    /// As [`Client::list_series`].
    pub async fn series_metadata(&self, study: &Uid, series: &Uid) -> Result<Vec<Attributes>, Failure> {
        Ok(self.metadata(&["studies", study.as_str(), "series", series.as_str(), "metadata"]).await?)
    }

    /// The header of one instance: all its attributes but bulk data, which includes the pixels.
    ///
    /// # Errors
    /// As [`Client::list_series`]; `pacs-protocol` when the PACS answers with anything but one data set.
    pub async fn instance_header(&self, study: &Uid, series: &Uid, sop: &Uid) -> Result<InMemDicomObject, Failure> {
        let path = ["studies", study.as_str(), "series", series.as_str(), "instances", sop.as_str(), "metadata"];
        let mut sets = self.metadata(&path).await?;
        match (sets.pop(), sets.is_empty()) {
            (Some(set), true) => Ok(set.into_object()?),
            _ => Err(Error::Protocol("not exactly one data set for one instance").into()),
        }
    }

    /// PatientID, its issuer and AccessionNumber as the PACS holds them now.
    ///
    /// IssuerOfPatientID is not among the attributes that a PACS must return from a search; where the search does not
    /// carry it, it is read from the metadata of one instance.
    ///
    /// # Errors
    /// As [`Client::search_studies`]; `study-not-found` when the study is gone; held with `patient-changed` when the
    /// PACS lists the study under two patients.
    pub async fn patient_key(&self, study: &Uid) -> Result<PatientKey, Failure> {
        Ok(self.read_patient_key(study).await?)
    }

    async fn read_patient_key(&self, study: &Uid) -> Result<PatientKey, Error> {
        let query = StudyQuery { study: Some(study.clone()), ..StudyQuery::default() };
        let parameters = query.parameters();
        let found = self.search_all(&["studies"], &parameters, STUDIES_MAX).await?;
        let found: Vec<_> =
            found.into_iter().filter(|s| s.uid(tags::STUDY_INSTANCE_UID).as_ref() == Some(study)).collect();
        let entry = found.first().ok_or(Error::NotFound)?;
        let mut key = patient_key(entry);
        if found.iter().any(|other| patient_key(other) != key) {
            return Err(Error::TwoPatients);
        }
        if !entry.has(tags::ISSUER_OF_PATIENT_ID) {
            key.issuer_of_patient_id = self.issuer_of_patient_id(study).await?;
        }
        Ok(key)
    }

    async fn issuer_of_patient_id(&self, study: &Uid) -> Result<Option<String>, Error> {
        let mut parameters = include(&[tags::SERIES_INSTANCE_UID]);
        parameters.push(("limit".to_owned(), "1".to_owned()));
        let (page, _) = self.page(&["studies", study.as_str(), "instances"], &parameters).await?;
        let instance = page.first().ok_or(Error::NotFound)?;
        let (Some(series), Some(sop)) = (instance.uid(tags::SERIES_INSTANCE_UID), instance.uid(tags::SOP_INSTANCE_UID))
        else {
            return Err(Error::Protocol("an instance is listed without its UIDs"));
        };
        let path = ["studies", study.as_str(), "series", series.as_str(), "instances", sop.as_str(), "metadata"];
        let metadata = self.metadata(&path).await?;
        Ok(metadata.first().and_then(|set| non_empty(set, tags::ISSUER_OF_PATIENT_ID)))
    }

    async fn metadata(&self, path: &[&str]) -> Result<Vec<Attributes>, Error> {
        let ask = self.transport.retry(|| async {
            let request = self.transport.get(self.transport.url(path), JSON);
            let body = self.transport.send(request, self.limits.json_bytes).await?;
            self.sets(body).await
        });
        self.in_time(ask).await
    }

    /// All results of a search, each `key` once, `max` at most.
    async fn search(
        &self,
        path: &[&str],
        parameters: &[(String, String)],
        key: Tag,
        max: usize,
    ) -> Result<Vec<Attributes>, Error> {
        let mut seen = BTreeSet::new();
        let mut all = self.search_all(path, parameters, max).await?;
        all.retain(|set| set.text(key).is_some_and(|uid| seen.insert(uid)));
        Ok(all)
    }

    /// All results of a search, page by page. A page shorter than asked for is the last one unless the PACS warns that
    /// more exist; a page that only repeats earlier ones ends the search too (a PACS that ignores `offset`).
    async fn search_all(
        &self,
        path: &[&str],
        parameters: &[(String, String)],
        max: usize,
    ) -> Result<Vec<Attributes>, Error> {
        let mut all: Vec<Attributes> = Vec::new();
        let mut last = Vec::new();
        loop {
            let mut parameters = parameters.to_vec();
            parameters.push(("limit".to_owned(), self.page_size.to_string()));
            parameters.push(("offset".to_owned(), all.len().to_string()));
            let (page, more) = self.in_time(self.transport.retry(|| self.page(path, &parameters))).await?;
            if page.is_empty() || page == last {
                return Ok(all);
            }
            let full = page.len() >= self.page_size;
            all.extend(page.iter().cloned());
            if all.len() > max {
                return Err(Error::TooLarge("results of a search"));
            }
            if !full && !more {
                return Ok(all);
            }
            last = page;
        }
    }

    /// Ends an exchange that never ends: a slow drip is not idle.
    async fn in_time<T>(&self, exchange: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let limit = Duration::from_secs(self.limits.retrieve_secs);
        tokio::time::timeout(limit, exchange).await.unwrap_or(Err(Error::Deadline(limit)))
    }

    /// One page of a search, and whether the PACS warned that there is more.
    async fn page(&self, path: &[&str], parameters: &[(String, String)]) -> Result<(Vec<Attributes>, bool), Error> {
        let mut url = self.transport.url(path);
        url.query_pairs_mut().extend_pairs(parameters);
        let body = self.transport.send(self.transport.get(url, JSON), self.limits.json_bytes).await?;
        let more = body.has_more();
        Ok((self.sets(body).await?, more))
    }

    /// Reads the data sets of an answer; none for 204 and for an empty body.
    async fn sets(&self, body: Body) -> Result<Vec<Attributes>, Error> {
        if body.status() == StatusCode::NO_CONTENT {
            return Ok(Vec::new());
        }
        let bytes = body.collect().await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Vec::new());
        }
        json::parse(&bytes, self.limits.json_depth)
    }
}

impl StudyQuery {
    fn parameters(&self) -> Vec<(String, String)> {
        let mut parameters = Vec::new();
        if self.from.is_some() || self.to.is_some() {
            let range = format!("{}-{}", self.from.map(day).unwrap_or_default(), self.to.map(day).unwrap_or_default());
            parameters.push(("StudyDate".to_owned(), range));
        }
        if let Some(study) = &self.study {
            parameters.push(("StudyInstanceUID".to_owned(), study.to_string()));
        }
        parameters.extend(include(&[
            tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
            tags::MODALITIES_IN_STUDY,
            tags::ACCESSION_NUMBER,
            tags::PATIENT_ID,
            tags::ISSUER_OF_PATIENT_ID,
        ]));
        parameters
    }
}

fn day(date: Date) -> String {
    format!("{:04}{:02}{:02}", date.year(), u8::from(date.month()), date.day())
}

fn include(tags: &[Tag]) -> Vec<(String, String)> {
    let field = |tag: &Tag| ("includefield".to_owned(), format!("{:04X}{:04X}", tag.group(), tag.element()));
    tags.iter().map(field).collect()
}

fn non_empty(set: &Attributes, tag: Tag) -> Option<String> {
    set.text(tag).filter(|text| !text.is_empty())
}

fn patient_key(set: &Attributes) -> PatientKey {
    PatientKey {
        patient_id: set.text(tags::PATIENT_ID).unwrap_or_default(),
        issuer_of_patient_id: non_empty(set, tags::ISSUER_OF_PATIENT_ID),
        accession_number: set.text(tags::ACCESSION_NUMBER).unwrap_or_default(),
    }
}

impl StudyEntry {
    fn of(set: &Attributes) -> Option<Self> {
        Some(Self {
            study: set.uid(tags::STUDY_INSTANCE_UID)?,
            study_date: set.text(tags::STUDY_DATE).unwrap_or_default(),
            instances: set.unsigned(tags::NUMBER_OF_STUDY_RELATED_INSTANCES),
            modalities: set.texts(tags::MODALITIES_IN_STUDY),
            patient: patient_key(set),
        })
    }
}

impl SeriesEntry {
    fn of(set: &Attributes) -> Option<Self> {
        Some(Self {
            series: set.uid(tags::SERIES_INSTANCE_UID)?,
            modality: set.text(tags::MODALITY).unwrap_or_default(),
            instances: set.unsigned(tags::NUMBER_OF_SERIES_RELATED_INSTANCES),
        })
    }
}

impl InstanceEntry {
    fn of(set: &Attributes) -> Option<Self> {
        Some(Self {
            sop_class: set.uid(tags::SOP_CLASS_UID),
            sop_instance: set.uid(tags::SOP_INSTANCE_UID)?,
            series: set.uid(tags::SERIES_INSTANCE_UID)?,
            modality: set.text(tags::MODALITY).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;
    use time::macros::date;

    #[test]
    fn a_query_names_its_range_and_the_attributes_it_needs() {
        let query = StudyQuery { from: Some(date!(2026 - 01 - 05)), modality: Some("MR".into()), ..Default::default() };
        let parameters = query.parameters();
        assert_eq!(parameters[0], ("StudyDate".into(), "20260105-".into()));
        assert!(parameters.contains(&("includefield".into(), "00080061".into())), "the modality is chosen by us");
        assert!(!parameters.iter().any(|(key, _)| key == "ModalitiesInStudy"));
        assert!(parameters.contains(&("includefield".into(), "00201208".into())));
    }

    #[test]
    fn an_entry_without_a_valid_uid_is_no_entry() {
        let set = Attributes::of(json!({"0020000D": {"vr": "UI", "Value": ["../etc"]}}));
        assert_eq!(StudyEntry::of(&set), None);
    }
}
