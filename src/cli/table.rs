//! The one look of tables on the terminal.

use comfy_table::{ContentArrangement, Table, presets};

/// An empty table with a header, that wraps to the terminal's width.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec());
    table
}
