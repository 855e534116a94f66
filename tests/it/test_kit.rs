//! The test kit against the real servers: private sets survive a kill, the EHR lets the gateway's key in.

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::support::database::TestDatabase;
use crate::support::servers::{PrivateServers, Servers};
use crate::support::studies::{self, TestStudy};
use crate::support::unique;

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn every_server_of_the_shared_set_answers_with_its_own_secret() {
    let (servers, client) = (Servers::shared(), client());
    let pacs = servers.pacs_request(&client, Method::GET, "/system").send().await.unwrap();
    assert_eq!(pacs.status(), StatusCode::OK);
    let ehr = servers.ehr_request(&client, Method::GET, "/metadata").send().await.unwrap();
    assert_eq!(ehr.json::<Value>().await.unwrap()["fhirVersion"], "4.0.1");
    let broker =
        client.get(format!("{}/overview", servers.amqp_api())).basic_auth("scargate", Some(servers.secret("rabbitmq")));
    assert_eq!(broker.send().await.unwrap().status(), StatusCode::OK);
    let open = client.get(servers.ehr_url() + "/Patient").send().await.unwrap();
    assert_eq!(open.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_killed_pacs_comes_back_with_its_data() {
    let (servers, client) = (PrivateServers::start(&["orthanc"]), client());
    let put = servers.pacs_request(&client, Method::PUT, "/modalities/kept").body(r#"["A", "127.0.0.1", 104]"#);
    assert_eq!(put.send().await.unwrap().status(), StatusCode::OK);
    servers.kill("orthanc");
    assert!(servers.pacs_request(&client, Method::GET, "/system").send().await.is_err());
    servers.up("orthanc");
    let system = servers.pacs_request(&client, Method::GET, "/system").send().await.unwrap();
    assert_eq!(system.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_killed_database_keeps_what_it_acknowledged() {
    use sqlx::{Connection, PgConnection};
    let servers = PrivateServers::start(&["postgres"]);
    let url = servers.database_url("owner", "scargate");
    let mut owner = PgConnection::connect(&url).await.unwrap();
    sqlx::query("CREATE TABLE kept (n INT)").execute(&mut owner).await.unwrap();
    sqlx::query("INSERT INTO kept SELECT generate_series(1, 1000)").execute(&mut owner).await.unwrap();
    servers.kill("postgres");
    servers.up("postgres");
    let mut owner = PgConnection::connect(&url).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&mut owner).await.unwrap();
    assert_eq!(rows, 1000);
}

#[tokio::test]
async fn each_test_has_a_migrated_database_of_its_own_as_the_roles() {
    let servers = Servers::shared();
    let (one, two) = (TestDatabase::fresh(&servers).await, TestDatabase::fresh(&servers).await);
    assert_ne!(one.name, two.name);
    let app = one.pool("app").await;
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")
            .fetch_one(&app)
            .await
            .unwrap();
    assert!(tables > 0, "no table is visible to the app role");
    let ddl = sqlx::query("CREATE TABLE mine (n INT)").execute(&app).await;
    assert!(ddl.is_err(), "the app role may not make tables");
    let name = one.name.clone();
    drop(app);
    drop(one);
    let admin = sqlx::PgPool::connect(&servers.database_url("admin", "postgres")).await.unwrap();
    let left: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)")
        .bind(&name)
        .fetch_one(&admin)
        .await
        .unwrap();
    assert!(!left, "a dropped test database is deleted");
}

#[test]
fn unique_names_fit_their_fields() {
    assert_ne!(unique::word("q"), unique::word("q"));
    let uid = unique::uid();
    assert!(uid.len() <= 64 && uid.starts_with("2.25."), "{uid}");
    assert!(unique::accession().len() <= 16);
    assert!(unique::patient_id().len() <= 64);
}

#[tokio::test]
async fn a_study_goes_into_the_pacs_and_its_patient_into_the_ehr() {
    let servers = Servers::shared();
    let study = TestStudy::draw(&servers, |spec| spec);
    study.upload().await;
    let path = format!("/dicom-web/studies/{}/instances", study.uid());
    let listed = servers.pacs_request(&client(), Method::GET, &path).send().await.unwrap();
    let listed: Vec<Value> = listed.json().await.unwrap();
    assert_eq!(listed.len(), study.study.instances.len());
    assert_eq!(study.segs().await.len(), 0);
    assert_eq!(study.fetch(&listed[0]).await[128..132], *b"DICM");

    let patient = study.register().await;
    let orders = studies::search(&servers, &format!("ServiceRequest?subject={patient}")).await;
    assert_eq!(orders.len(), 1);

    study.delete().await;
    let gone = servers.pacs_request(&client(), Method::GET, &path).send().await.unwrap();
    assert!(gone.status() == StatusCode::NOT_FOUND || gone.json::<Vec<Value>>().await.unwrap().is_empty());
}
