//! TLS as hospitals run it: nginx in front of PACS and EHR with a certificate of a private authority, and a bearer token
//! that it checks and turns into the Basic credentials of the server behind.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;

use super::config::free_port;
use super::servers::Servers;
use super::studies::eventually;

/// The token that it takes.
pub const TOKEN: &str = "a-token-of-this-test";

/// A running nginx; stopped when dropped.
pub struct Tls {
    child: Child,
    folder: tempfile::TempDir,
    pacs: u16,
    ehr: u16,
}

impl Tls {
    /// Starts it in front of the servers' PACS and EHR.
    pub async fn start(servers: &Servers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        authority(folder.path(), "authority");
        authority(folder.path(), "stranger");
        certificate(folder.path());
        let (pacs, ehr) = (free_port(), free_port());
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration(folder.path(), servers, pacs, ehr)).unwrap();
        let child = Command::new("/usr/sbin/nginx")
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .args(["-e", "error.log"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let open = async || tokio::net::TcpStream::connect(("127.0.0.1", pacs)).await.ok();
        eventually("nginx listens", Duration::from_secs(20), open).await;
        Self { child, folder, pacs, ehr }
    }

    /// DICOMweb root over TLS.
    pub fn pacs_url(&self) -> String {
        format!("https://localhost:{}/dicom-web", self.pacs)
    }

    /// FHIR root over TLS.
    pub fn ehr_url(&self) -> String {
        format!("https://localhost:{}/fhir", self.ehr)
    }

    /// The authority that issued the certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// An authority that has nothing to do with it.
    pub fn stranger(&self) -> PathBuf {
        self.folder.path().join("stranger.pem")
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        // QUIT lets the master stop its workers; a killed master would leave them behind.
        let _ = Command::new("kill").args(["-QUIT", &pid]).status();
        let _ = self.child.wait();
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn authority(folder: &Path, name: &str) {
    openssl(
        folder,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign -keyout {name}.key -out {name}.pem"
        ),
    );
}

fn certificate(folder: &Path) {
    std::fs::write(
        folder.join("extensions"),
        "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n",
    )
    .unwrap();
    openssl(
        folder,
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
    );
    openssl(
        folder,
        "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile extensions \
         -out server.pem",
    );
}

fn configuration(folder: &Path, servers: &Servers, pacs: u16, ehr: u16) -> String {
    let basic = |user: &str, secret: &str| {
        base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", servers.secret(secret)))
    };
    let room = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {room}/{name};\n"))
        .collect();
    let server = |port: u16, upstream: &str, credentials: &str| {
        format!(
            "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {room}/server.pem; ssl_certificate_key {room}/server.key;
             location / {{
                 if ($http_authorization != \"Bearer {TOKEN}\") {{ return 401; }}
                 proxy_pass {upstream}; proxy_set_header Authorization \"Basic {credentials}\"; }} }}"
        )
    };
    let behind = [
        server(pacs, &servers.pacs_origin(), &basic("scargate", "orthanc")),
        // The EHR's client speaks Basic here: no token to check.
        server(ehr, &servers.ehr_origin(), "")
            .replace(&format!("if ($http_authorization != \"Bearer {TOKEN}\") {{ return 401; }}"), "")
            .replace("proxy_set_header Authorization \"Basic \";", ""),
    ];
    format!(
        "daemon off; pid {room}/nginx.pid; worker_processes 1; error_log {room}/error.log;
         events {{ worker_connections 64; }}
         http {{ access_log off; client_max_body_size 0; {temporary} {} {} }}",
        behind[0], behind[1]
    )
}
