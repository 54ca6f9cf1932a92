//! Rows: as a table for people, as CSV for spreadsheets.

use std::fmt::Write;

use super::human::OneLine;

/// A table with its columns' names in capitals over it, each column as wide as its widest cell; nothing if there are no rows.
pub(crate) fn text(columns: &[&str], rows: &[Vec<String>]) -> String {
    let names: Vec<_> = columns.iter().map(|name| name.to_uppercase()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    named(&names, rows)
}

/// The same with the names as they are, where they are somebody else's.
pub(crate) fn named(names: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let one_line = |cell: &str| OneLine(cell).to_string();
    let rows: Vec<Vec<String>> = std::iter::once(names.iter().map(|name| one_line(name)).collect())
        .chain(
            rows.iter()
                .map(|row| row.iter().map(|cell| one_line(cell)).collect()),
        )
        .collect();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<_> = (0..names.len())
        .map(|column| width(column).unwrap_or_default())
        .collect();
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // A string takes all that is written to it.
                let _ = write!(line, "{cell:width$}  ");
            }
            line.trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// A row of CSV (RFC 4180), without its line ending. A cell that a spreadsheet would take for a formula stays as it is: whoever
/// reads this as data gets the data.
pub(crate) fn csv<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let cells: Vec<_> = cells
        .into_iter()
        .map(|cell| {
            if cell.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell.to_owned()
            }
        })
        .collect();
    cells.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![
            vec!["a".to_owned(), "b\nc".to_owned()],
            vec!["übung".to_owned(), String::new()],
        ];
        assert_eq!(text(&["id", "note"], &rows), "ID     NOTE\na      b\\nc\nübung");
        assert_eq!(text(&["id"], &[]), "");
    }

    #[test]
    fn cells_of_csv_are_quoted_where_they_must_be() {
        assert_eq!(
            csv(["a", "", "b c", "d,e", "f\"g", "h\ni"]),
            "a,,b c,\"d,e\",\"f\"\"g\",\"h\ni\""
        );
    }
}
