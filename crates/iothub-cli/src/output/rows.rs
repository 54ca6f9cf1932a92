//! What has fields, as text, JSON and CSV: the JSON names its columns.

use serde_json::{Map, Value};

use super::{json, table};
use crate::args::Output;
use crate::failure::Failure;
use crate::io::Io;

/// Many of them: a table for people, under the columns' names in capitals.
pub(crate) fn print(
    columns: &[&str],
    rows: &[Map<String, Value>],
    output: Output,
    io: &mut Io,
) -> Result<(), Failure> {
    print_as(columns, rows, output, table::text, io)
}

/// The same under the names as they are, where they are somebody else's.
pub(crate) fn print_named(
    columns: &[&str],
    rows: &[Map<String, Value>],
    output: Output,
    io: &mut Io,
) -> Result<(), Failure> {
    print_as(columns, rows, output, table::named, io)
}

fn print_as(
    columns: &[&str],
    rows: &[Map<String, Value>],
    output: Output,
    table: fn(&[&str], &[Vec<String>]) -> String,
    io: &mut Io,
) -> Result<(), Failure> {
    match output {
        Output::Json => rows.iter().try_for_each(|row| io.print(&json::line(row))),
        Output::Csv => {
            io.print(&table::csv(columns.iter().copied()))?;
            print_csv_rows(columns, rows, io)
        }
        Output::Text if rows.is_empty() => Ok(()),
        Output::Text => {
            let cells = |row: &Map<String, Value>| columns.iter().map(|name| cell(row.get(*name))).collect();
            let rows: Vec<_> = rows.iter().map(cells).collect();
            io.print(&table(columns, &rows))
        }
    }
}

/// More of them, under a line of names that is written.
pub(crate) fn print_csv_rows(
    columns: &[&str],
    rows: &[Map<String, Value>],
    io: &mut Io,
) -> Result<(), Failure> {
    rows.iter().try_for_each(|row| {
        let cells: Vec<String> = columns.iter().map(|name| cell(row.get(*name))).collect();
        io.print(&table::csv(cells.iter().map(String::as_str)))
    })
}

/// One of them: for people a line a field that has something.
pub(crate) fn print_one(row: &Map<String, Value>, output: Output, io: &mut Io) -> Result<(), Failure> {
    if output != Output::Text {
        let columns: Vec<_> = row.keys().map(String::as_str).collect();
        return print(&columns, std::slice::from_ref(row), output, io);
    }
    let width = row.keys().map(String::len).max().unwrap_or_default();
    let lines: Vec<_> = row
        .iter()
        .map(|(name, value)| (name, cell(Some(value))))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:width$}  {}", super::human::OneLine(&value)))
        .collect();
    io.print(&lines.join("\n"))
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        // Such as thumbprints.
        Some(Value::Array(items)) if !items.is_empty() && items.iter().all(Value::is_string) => {
            let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
            items.join(" ")
        }
        Some(other) => other.to_string(),
    }
}
