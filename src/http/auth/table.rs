//! The table of routes and what each needs. docs/security.md shows it, and a test holds the two together.

use crate::config::Scope;
use actix_web::http::Method;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Open: it tells nothing of a study.
    Nothing,
    /// The PACS's own key.
    WebhookKey,
    /// A token that carries the scope.
    Scope(Scope),
}

/// Method, pattern, need.
pub(super) const ROUTES: [(Method, &str, Need); 12] = [
    (Method::GET, "/health/live", Need::Nothing),
    (Method::GET, "/health/ready", Need::Nothing),
    (Method::GET, "/fhir/CodeSystem/lge", Need::Nothing),
    (Method::POST, "/hooks/pacs", Need::WebhookKey),
    (Method::POST, "/api/v1/studies/{study}/runs", Need::Scope(Scope::Runs)),
    (Method::GET, "/api/v1/runs", Need::Scope(Scope::Runs)),
    (Method::GET, "/api/v1/runs/{run}", Need::Scope(Scope::Runs)),
    (Method::GET, "/api/v1/runs/{run}/artefacts/{name}", Need::Scope(Scope::Results)),
    (Method::POST, "/api/v1/runs/{run}/retry", Need::Scope(Scope::Runs)),
    (Method::POST, "/api/v1/runs/{run}/cancel", Need::Scope(Scope::Runs)),
    (Method::POST, "/api/v1/deliveries/{delivery}/release", Need::Scope(Scope::Review)),
    (Method::POST, "/api/v1/deliveries/{delivery}/discard", Need::Scope(Scope::Review)),
];

/// What a route needs; `None` when it is not in the table.
pub(super) fn need(method: &Method, pattern: &str) -> Option<Need> {
    ROUTES.iter().find(|(m, p, _)| m == method && *p == pattern).map(|(_, _, need)| *need)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_shows_this_table() {
        let shown = include_str!("../../../docs/security.md");
        for (method, pattern, need) in &ROUTES {
            let need = match need {
                Need::Nothing => "open".to_owned(),
                Need::WebhookKey => "webhook key".to_owned(),
                Need::Scope(scope) => format!("`{}`", scope.name()),
            };
            let row = format!("| `{method} {pattern}` | {need} |");
            assert!(shown.contains(&row), "docs/security.md lacks {row}");
        }
        let rows = shown.lines().filter(|line| line.starts_with("| `GET ") || line.starts_with("| `POST ")).count();
        assert_eq!(rows, ROUTES.len(), "docs/security.md shows a route that is not in the table");
    }

    #[test]
    fn what_is_not_in_the_table_needs_what_nobody_has() {
        assert_eq!(need(&Method::DELETE, "/api/v1/runs"), None);
        assert_eq!(need(&Method::GET, "/api/v1/studies/{study}/runs"), None);
    }
}
