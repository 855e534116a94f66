//! Typed, layered configuration: built-in defaults, then files, then the environment; checked whole before any port opens.

mod check;
mod secret;
mod sections;

pub use check::{Fault, is_loopback};
pub use secret::Secret;
pub use sections::*;

use crate::failure::{Code, Failure};
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use std::path::{Path, PathBuf};

/// The defaults and the manual of every option.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Reads the configuration from the defaults, `files` in order and `SCARGATE_*` of the environment.
///
/// # Errors
/// `config-invalid` with every fault that was found: unreadable files, unknown keys, wrong types, unsafe shapes.
pub fn load(files: &[PathBuf]) -> Result<Config, Failure> {
    for file in files {
        if !file.is_file() {
            return Err(invalid(format!("configuration file {} does not exist", file.display())));
        }
    }
    let figment = figment(files);
    let config: Config = figment.extract().map_err(|error| invalid(figment_text(&error)))?;
    let mut faults = secret::faults_of_provenance(&figment);
    faults.extend(config.faults());
    if faults.is_empty() {
        return Ok(config);
    }
    let lines: Vec<String> = faults.iter().map(|fault| format!("{}: {}", fault.key, fault.text)).collect();
    Err(invalid(lines.join("; ")))
}

fn figment(files: &[PathBuf]) -> Figment {
    let mut figment = Figment::new().merge(Toml::string(DEFAULTS));
    for file in files {
        figment = figment.merge(Toml::file(Path::new(file)));
    }
    figment.merge(Env::prefixed("SCARGATE_").filter(|key| is_config_key(key.as_str())).split("__"))
}

/// Only variables that name a section or the one top-level key; `SCARGATE_PORT_BASE` and the like belong to the scripts.
fn is_config_key(key: &str) -> bool {
    key.contains("__") || key.eq_ignore_ascii_case("acknowledge_research_use")
}

fn invalid(detail: String) -> Failure {
    Failure::permanent(Code::ConfigInvalid, detail)
}

fn figment_text(error: &figment::Error) -> String {
    let lines: Vec<String> = error.clone().into_iter().map(|e| e.to_string()).collect();
    lines.join("; ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    /// The built-in defaults, for tests of other modules.
    pub(crate) fn defaults() -> Config {
        figment(&[]).extract().unwrap()
    }

    fn load_text(text: &str) -> Result<Config, Failure> {
        let mut file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load(&[file.path().to_path_buf()])
    }

    #[test]
    fn defaults_hold_every_key() {
        assert_eq!(defaults().server.port, 24080);
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = load_text("[server]\nprot = 1\n").unwrap_err();
        assert!(error.detail.contains("prot"), "{}", error.detail);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let error = load_text("[broker]\nheartbeat_secs = 20\n[server]\nbind = \"0.0.0.0\"\n").unwrap_err();
        assert!(
            error.detail.contains("broker.heartbeat_secs") && error.detail.contains("server.bind"),
            "{}",
            error.detail
        );
    }

    #[test]
    fn beyond_loopback_only_locked() {
        let refused = |text: &str| load_text(text).err().map(|error| error.detail).unwrap_or_default();
        let open = refused("[server]\nbind = \"0.0.0.0\"\n");
        assert!(open.contains("server.bind") && open.contains("server.tls"), "{open}");
        let oidc = "[oidc]\nissuer = \"https://issuer.example\"\n[server]\nbind = \"0.0.0.0\"\nauth = \"oidc\"\n";
        assert!(refused(oidc).contains("server.tls"));
        assert_eq!(refused(&format!("{oidc}tls = \"proxy\"\n")), "");
        let plain = oidc.replace("https", "http");
        assert!(refused(&format!("{plain}tls = \"proxy\"\n")).contains("oidc.issuer"), "keys over plain http");
    }

    #[test]
    fn a_secret_in_a_file_is_refused() {
        let error = load_text("[pacs]\nauth = \"basic\"\nusername = \"a\"\npassword = \"hunter2\"\n").unwrap_err();
        assert!(error.detail.contains("pacs.password"), "{}", error.detail);
        assert!(!error.detail.contains("hunter2"), "a secret is never shown");
    }
}
