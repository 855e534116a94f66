//! What of a study is input: the MR instances that the PACS lists, less our own.

use crate::dicomweb::{Client, InstanceEntry};
use crate::domain::submission::InputDigest;
use crate::domain::uid::Uid;
use crate::failure::{Code, Failure};
use crate::store::{OwnObjects, Store};

/// The inputs of a study.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Digest of the instances.
    pub digest: InputDigest,
    /// Their series, each once, in the PACS's order.
    pub series: Vec<Uid>,
    /// How many instances.
    pub instances: usize,
}

/// Asks the PACS what a study consists of now.
///
/// # Errors
/// `study-not-found` when the PACS lists no instance but ours; otherwise of the PACS and the database.
pub async fn inputs(store: &Store, pacs: &Client, study: &Uid) -> Result<Inputs, Failure> {
    let own = store.own_objects(study).await?;
    let listed = pacs.list_instances(study).await?;
    if listed.iter().all(|entry| own.owns(&entry.series, &entry.sop_instance)) {
        return Err(Failure::rejected(Code::StudyNotFound, ""));
    }
    Ok(of_entries(&listed, &own))
}

fn of_entries(listed: &[InstanceEntry], own: &OwnObjects) -> Inputs {
    let is_input = |entry: &&InstanceEntry| is_mr(entry) && !own.owns(&entry.series, &entry.sop_instance);
    let entries: Vec<&InstanceEntry> = listed.iter().filter(is_input).collect();
    let mut series: Vec<Uid> = Vec::new();
    for entry in &entries {
        if !series.contains(&entry.series) {
            series.push(entry.series.clone());
        }
    }
    Inputs {
        digest: InputDigest::of(entries.iter().map(|entry| &entry.sop_instance)),
        series,
        instances: entries.len(),
    }
}

/// A PACS that does not tell the modality leaves it to the series selection.
fn is_mr(entry: &InstanceEntry) -> bool {
    entry.modality.is_empty() || entry.modality == "MR"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(series: &str, instance: &str, modality: &str) -> InstanceEntry {
        InstanceEntry {
            sop_class: None,
            sop_instance: Uid::derive(&[instance]),
            series: Uid::derive(&[series]),
            modality: modality.to_owned(),
        }
    }

    #[test]
    fn only_mr_counts_and_each_series_stands_once() {
        let listed = [entry("a", "1", "MR"), entry("a", "2", "MR"), entry("b", "3", "SEG"), entry("c", "4", "")];
        let found = of_entries(&listed, &OwnObjects::default());
        assert_eq!(found.series, [Uid::derive(&["a"]), Uid::derive(&["c"])]);
        assert_eq!(found.instances, 3);
        let [one, two, four] = ["1", "2", "4"].map(|name| Uid::derive(&[name]));
        assert_eq!(found.digest, InputDigest::of([&four, &two, &one]));
    }
}
