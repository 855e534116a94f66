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
    /// A person decided that what was changed in the EHR gives way.
    pub overwrite: bool,
}

/// A delivery that failed, and what of it stands in the EHR all the same: only where resources go one by one.
pub struct Undelivered {
    /// Why.
    pub failure: Failure,
    /// The receipt of what was written.
    pub written: Option<Value>,
}

impl From<Failure> for Undelivered {
    fn from(failure: Failure) -> Self {
        Self { failure, written: None }
    }
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
    pub async fn deliver(&self, parcel: &Parcel<'_>) -> Result<Value, Undelivered> {
        let internal = |text: &str| Failure::permanent(Code::Internal, text);
        let stored: Value = serde_json::from_slice(parcel.bundle).map_err(|_| internal("the bundle is not JSON"))?;
        let named = bind::named(&stored);
        if named.patient_id.trim() != parcel.patient.patient_id.trim() {
            return Err(internal("the bundle and the run name different patients").into());
        }
        let capability = self.client.capability().await?;
        let matched = matching::find(&self.client, &self.config, &named).await?;
        let mut bundle = bind::reduce(bind::bind(stored, &matched), &capability);
        let mut mode = if capability.transaction { Mode::Transaction } else { Mode::Single };
        let written = match self.write(&bundle, parcel, &mut mode).await {
            // Somebody was quicker: perhaps an earlier request of ours whose answer was lost. Look once more.
            Err(failure) if failure.code == Code::EhrChanged => self.write(&bundle, parcel, &mut mode).await,
            // A transaction fails as a whole for one type that the EHR declares and refuses: the values do without.
            Err(failure) if failure.code == Code::EhrRefused && mode == Mode::Transaction => {
                tracing::warn!("the EHR refuses the result as a whole; once more without the optional resources");
                bundle = bind::without(bundle, &bind::OPTIONAL);
                self.write(&bundle, parcel, &mut mode).await
            }
            result => result,
        };
        if let Err(failure) = written {
            let written = if mode == Mode::Single { self.incomplete(&bundle, parcel.receipt).await } else { None };
            return Err(Undelivered { failure, written });
        }
        let lines = Lines::read(&self.client, &bundle).await?;
        if !lines.hold(&bundle) {
            return Err(Failure::transient(Code::EhrUnavailable, "the EHR does not show what it accepted yet").into());
        }
        Ok(lines.receipt(mode.name()))
    }

    /// What stands of a delivery that failed midway, as far as the EHR answers.
    async fn incomplete(&self, bundle: &Value, before: Option<&Value>) -> Option<Value> {
        Lines::read(&self.client, bundle).await.ok()?.incomplete(bundle, before)
    }

    /// Writes what is not there yet; `mode` becomes single when the EHR refuses transactions after all.
    async fn write(&self, bundle: &Value, parcel: &Parcel<'_>, mode: &mut Mode) -> Result<(), Failure> {
        let lines = Lines::read(&self.client, bundle).await?;
        lines.may_be_replaced(bundle, parcel.receipt, parcel.overwrite)?;
        if *mode == Mode::Transaction {
            // All or nothing: when the lines are there, so is the rest.
            if lines.hold(bundle) {
                return Ok(());
            }
            let capability = self.client.capability().await?;
            match write::transaction(&self.client, bundle, &lines, &capability).await? {
                Sent::Accepted => return Ok(()),
                Sent::NotOffered => tracing::warn!("the EHR declares transactions and refuses one; writing one by one"),
            }
        }
        *mode = Mode::Single;
        write::single(&self.client, bundle, &lines).await
    }
}
