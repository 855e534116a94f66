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
    pub series: Vec<InputSeries>,
    /// How many instances.
    pub instances: usize,
}

/// One series of the inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSeries {
    /// SeriesInstanceUID.
    pub series: Uid,
    /// Its instances, in the PACS's order; never empty.
    pub instances: Vec<Uid>,
}

impl InputSeries {
    /// Up to three instances from all over the series: the first, the middle and the last.
    pub fn samples(&self) -> Vec<&Uid> {
        let last = self.instances.len().saturating_sub(1);
        let mut places = vec![0, last / 2, last];
        places.dedup();
        places.into_iter().filter_map(|place| self.instances.get(place)).collect()
    }
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
    let mut series: Vec<InputSeries> = Vec::new();
    for entry in &entries {
        match series.iter_mut().find(|one| one.series == entry.series) {
            Some(one) => one.instances.push(entry.sop_instance.clone()),
            None => {
                series.push(InputSeries { series: entry.series.clone(), instances: vec![entry.sop_instance.clone()] });
            }
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
        let series: Vec<&Uid> = found.series.iter().map(|one| &one.series).collect();
        assert_eq!(series, [&Uid::derive(&["a"]), &Uid::derive(&["c"])]);
        assert_eq!(found.instances, 3);
        let [one, two, four] = ["1", "2", "4"].map(|name| Uid::derive(&[name]));
        assert_eq!(found.digest, InputDigest::of([&four, &two, &one]));
    }

    #[test]
    fn samples_come_from_all_over_the_series_and_each_once() {
        let of = |count: usize| {
            let instances: Vec<Uid> = (0..count).map(|n| Uid::derive(&[&n.to_string()])).collect();
            let series = InputSeries { series: Uid::derive(&["s"]), instances: instances.clone() };
            let place = |sample: &Uid| instances.iter().position(|instance| instance == sample).unwrap_or(99);
            series.samples().into_iter().map(place).collect::<Vec<_>>()
        };
        assert_eq!([of(1), of(2), of(3), of(30)], [vec![0], vec![0, 1], vec![0, 1, 2], vec![0, 14, 29]]);
    }
}
