//! One study from the PACS to the EHR through the gateway as a hospital runs it, judged by readers that are not ours.

use serde_json::{Value, json};

use crate::stage::{Models, PATIENCE, Stage};
use crate::support::gateway;
use crate::support::python;
use crate::support::studies::{eventually, search};

#[tokio::test]
async fn a_study_becomes_a_seg_and_observations_that_independent_readers_accept() {
    let stage = Stage::new(Models::Full).await;
    let gateway = stage.gateway("all").await;
    let (study, patient) = stage.arrive().await;
    stage.delivered_once(&gateway, &study, &patient).await;

    let folder = stage.config.folder();
    let seg = folder.join("seg.dcm");
    std::fs::write(&seg, study.fetch(&study.segs().await[0]).await).unwrap();
    let sources = folder.join("sources");
    std::fs::create_dir(&sources).unwrap();
    for (number, instance) in study.study.instances.iter().enumerate() {
        std::fs::write(sources.join(format!("{number}.dcm")), instance.to_bytes().unwrap()).unwrap();
    }
    python::check_seg(&stage.servers, &seg, &["--sources", sources.to_str().unwrap(), "--allow", "99SCARGATE"]);

    let mut entries = search(&stage.servers, &format!("Observation?subject={patient}")).await;
    entries.extend(search(&stage.servers, &format!("DiagnosticReport?subject={patient}")).await);
    let entries: Vec<_> = entries.into_iter().map(|resource| json!({ "resource": resource })).collect();
    let bundle = folder.join("bundle.json");
    std::fs::write(&bundle, json!({"resourceType": "Bundle", "type": "collection", "entry": entries}).to_string())
        .unwrap();
    python::check_fhir(&stage.servers, &bundle);
}

#[tokio::test]
async fn our_own_seg_starts_no_further_run() {
    let stage = Stage::new(Models::Dense).await;
    let gateway = stage.gateway("all").await;
    let (study, patient) = stage.arrive().await;
    stage.delivered_once(&gateway, &study, &patient).await;
    let searches = stage.pacs.count("GET", "/studies?");
    // Three more polls see the study with the SEG in it.
    stage.pacs.wait_for("GET", "/studies?", searches + 3, PATIENCE).await;
    let run = stage.run(&gateway, &study).await.unwrap();
    assert_eq!((&run["revision"], &run["state"]), (&json!(1), &json!("completed")));
}

#[tokio::test]
async fn a_stop_signal_ends_the_process_cleanly() {
    let stage = Stage::new(Models::Dense).await;
    let mut gateway = stage.gateway("all").await;
    eventually("a consumer", PATIENCE, async || gateway.log().contains("consuming").then_some(())).await;
    assert_eq!(gateway.terminate(), Some(0), "{}", gateway.log());
}

#[tokio::test]
async fn a_webhook_reaches_the_poller_of_another_process() {
    let mut stage = Stage::new(Models::Dense).await;
    // Nothing is looked for at intervals: only the webhook starts anything.
    stage.config.set("intake.poll", false);
    let api = stage.gateway("api").await;
    let intake = stage.gateway("intake").await;
    let (study, _) = stage.arrive().await;
    eventually("the intake runs", PATIENCE, async || intake.log().contains("scargate runs").then_some(())).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = async |token: &str| {
        let request = client.post(api.url("/hooks/pacs")).header("X-Webhook-Token", token);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(call("guess").await, 401);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(stage.run(&api, &study).await.is_none(), "nobody called");
    assert_eq!(call(stage.servers.secret("webhook-token").trim()).await, 202);
    let run = stage.reaches(&api, &study, &["received"]).await;
    assert_eq!(run["trigger"], "webhook");
}

// The command line tool is waited for while the proxy before the PACS goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_revision_retires_the_objects_of_the_old_one() {
    let stage = Stage::new(Models::Dense).await;
    let gateway = stage.gateway("all").await;
    let (study, patient) = stage.arrive().await;
    stage.delivered_once(&gateway, &study, &patient).await;
    for modality in ["SEG", "SR", "OT"] {
        assert_eq!(study.objects(modality).await.len(), 1, "{modality}");
    }
    let uid = |instance: &Value| instance["00080018"]["Value"][0].as_str().unwrap().to_owned();
    let mut old = Vec::new();
    for modality in ["SEG", "SR", "OT"] {
        old.extend(study.objects(modality).await.iter().map(uid));
    }

    let again = gateway::run(&stage.config, &["reprocess", study.uid()]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let second = async || stage.run(&gateway, &study).await.filter(|run| run["revision"] == 2);
    eventually("the second revision", PATIENCE, second).await;
    stage.release_what_waits_for_review(&gateway, &study).await;
    let run = stage.reaches(&gateway, &study, &["completed", "failed"]).await;
    assert_eq!(run["state"], "completed", "{run}");

    let notes = study.objects("KO").await;
    assert_eq!(notes.len(), 1);
    let file = stage.config.folder().join("note.dcm");
    std::fs::write(&file, study.fetch(&notes[0]).await).unwrap();
    let mut more = vec![];
    for retired in &old {
        more.extend(["--retires", retired]);
    }
    python::check_report(&stage.servers, &[&file], &more);
}
