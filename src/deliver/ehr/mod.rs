//! Delivery to the EHR: the right patient is proven, the result is written exactly once in effect, and read back.

mod bind;
mod classify;
mod client;
mod http;
mod lines;
mod matching;
mod smart;
mod write;

use crate::config;
use crate::domain::codes;
use crate::domain::identity::PatientKey;
use crate::domain::lines::line_identifier;
use crate::domain::uid::Uid;
use crate::failure::{Code, Failure};
use client::Client;
use lines::Lines;
use serde_json::Value;
use write::{Mode, Sent};

/// One EHR.
pub struct Ehr {
    client: Client,
    config: config::Ehr,
}

/// A Bundle on its way.
pub struct Parcel<'a> {
    /// The stored Bundle.
    pub bundle: &'a [u8],
    /// Patient and order at the analysis.
    pub patient: &'a PatientKey,
    /// What the last delivery of this study wrote.
    pub receipt: Option<&'a Value>,
}

impl Ehr {
    /// From the configuration; sends nothing.
    ///
    /// # Errors
    /// `config-invalid`.
    pub fn new(config: &config::Config) -> Result<Self, Failure> {
        Ok(Self { client: Client::new(&config.ehr, &config.limits)?, config: config.ehr.clone() })
    }

    /// Reads back the Observations that the EHR holds for a study, panel first; for people and tests.
    ///
    /// # Errors
    /// Of the exchange.
    pub async fn observations(&self, study: &Uid) -> Result<Vec<Value>, Failure> {
        let mut found = Vec::new();
        for code in codes::OBSERVATION_CODES {
            let (system, value) = line_identifier(study, code, None);
            found.extend(self.client.search("Observation", &[("identifier", &format!("{system}|{value}"))]).await?);
        }
        Ok(found)
    }

    /// URL of a resource that was read.
    pub fn url_of(&self, resource: &Value) -> String {
        let text = |key: &str| resource[key].as_str().unwrap_or_default().to_owned();
        format!("{}/{}/{}", self.config.url.as_str().trim_end_matches('/'), text("resourceType"), text("id"))
    }

    /// Delivers a result and reads it back. Returns the receipt.
    ///
    /// Safe to repeat after any interruption: what the EHR holds is read first, and only what is missing is written.
    ///
    /// # Errors
    /// Held: `patient-*`, `order-mismatch`, `ehr-changed`. Transient and permanent ones as the EHR answers.
    pub async fn deliver(&self, parcel: &Parcel<'_>) -> Result<Value, Failure> {
        let internal = |text: &str| Failure::permanent(Code::Internal, text);
        let stored: Value = serde_json::from_slice(parcel.bundle).map_err(|_| internal("the bundle is not JSON"))?;
        let named = bind::named(&stored);
        if named.patient_id.trim() != parcel.patient.patient_id.trim() {
            return Err(internal("the bundle and the run name different patients"));
        }
        let capability = self.client.capability().await?;
        let matched = matching::find(&self.client, &self.config, &named).await?;
        let bundle = bind::reduce(bind::bind(stored, &matched), &capability);
        let mode = if capability.transaction { Mode::Transaction } else { Mode::Single };
        let mode = match self.write(&bundle, parcel.receipt, mode).await {
            // Somebody was quicker: perhaps an earlier request of ours whose answer was lost. Look once more.
            Err(failure) if failure.code == Code::EhrChanged => self.write(&bundle, parcel.receipt, mode).await?,
            result => result?,
        };
        let lines = Lines::read(&self.client, &bundle).await?;
        if !lines.hold(&bundle) {
            return Err(Failure::transient(Code::EhrUnavailable, "the EHR does not show what it accepted yet"));
        }
        Ok(lines.receipt(mode.name()))
    }

    /// Writes what is not there yet.
    async fn write(&self, bundle: &Value, receipt: Option<&Value>, mode: Mode) -> Result<Mode, Failure> {
        let lines = Lines::read(&self.client, bundle).await?;
        lines.may_be_replaced(bundle, receipt)?;
        if mode == Mode::Transaction {
            // All or nothing: when the lines are there, so is the rest.
            if lines.hold(bundle) {
                return Ok(mode);
            }
            let capability = self.client.capability().await?;
            match write::transaction(&self.client, bundle, &lines, &capability).await? {
                Sent::Accepted => return Ok(mode),
                Sent::NotOffered => tracing::warn!("the EHR declares transactions and refuses one; writing one by one"),
            }
        }
        write::single(&self.client, bundle, &lines).await?;
        Ok(Mode::Single)
    }
}
