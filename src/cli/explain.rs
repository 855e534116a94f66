//! `scargate explain`: what an error code means and what to do.

use crate::failure::{Code, Failure};
use clap::Args;

/// Explain an error code, or list all of them.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The code, e.g. `patient-ambiguous`; none = all.
    code: Option<String>,
    /// Print the table of docs/errors.md.
    #[arg(long)]
    markdown: bool,
}

/// Runs the command.
///
/// # Errors
/// `bad-request` for a code that does not exist.
pub fn run(args: &ExplainArgs) -> Result<(), Failure> {
    if args.markdown {
        print!("{}", markdown());
        return Ok(());
    }
    let wanted = args.code.as_deref().map(str::parse::<Code>).transpose();
    let wanted = wanted.map_err(|error| Failure::permanent(Code::BadRequest, error))?;
    for code in Code::ALL.iter().filter(|code| wanted.is_none_or(|wanted| wanted == **code)) {
        println!("{code}\n  {}\n  what to do: {}", code.meaning(), code.action());
    }
    Ok(())
}

fn markdown() -> String {
    let rows = Code::ALL
        .iter()
        .map(|code| format!("| `{code}` | {} | {} | {} |\n", code.http_status(), code.meaning(), code.action()));
    format!(
        "# Error codes\n\nThe same code stands in REST problems, run outcomes, audit events and on the command line \
         (`scargate explain CODE`). Written by `scargate explain --markdown`.\n\n\
         | code | HTTP status | meaning | what to do |\n| --- | --- | --- | --- |\n{}",
        rows.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_is_the_table() {
        let document = include_str!("../../docs/errors.md");
        assert!(document == super::markdown(), "run: scargate explain --markdown > docs/errors.md");
    }
}
