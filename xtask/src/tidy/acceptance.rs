//! The rule that each row of the protocol reference that a hub must meet has a test that names it.

use std::path::Path;

use crate::shell;

use super::Finding;
use super::sources::File;

const LIST: &str = "crates/iothub-emulator/tests/acceptance.md";
const CRATE: &str = "crates/iothub-emulator";

const ASPECTS: [&str; 19] = [
    "first header",
    "SASL mechanisms",
    "CBS addresses",
    "put-token",
    "link address",
    "where the address sits",
    "D2C transfers",
    "dispositions",
    "frames",
    "sessions",
    "first conversation",
    "second conversation",
    "identity",
    "status",
    "expiry",
    "message size",
    "queue depth",
    "throttles",
    "one C2D receiver",
];
const BOUNDS: [&str; 13] = [
    "MAX_FRAME_SIZE",
    "MAX_SESSIONS",
    "MAX_LINKS",
    "MAX_UNSETTLED",
    "MAX_WAITING",
    "LINK_ORDERS",
    "MAX_UNDELIVERED",
    "MAX_EARLY",
    "MAX_REPLIES",
    "MAX_HANDED",
    "MAX_SHARED",
    "MAX_TOKENS",
    "MAX_UNREAD",
];

/// What services use over AMQP, by its section.
const SERVICES: [&str; 14] = [
    "§6.1 addresses and outcomes",
    "§6.1 feedback",
    "§6.1 file notifications",
    "§6.2 policies",
    "§6.1 to §6.4 types",
    "§6.3 redirect",
    "§6.3 second hop",
    "§6.4 management",
    "§6.4 receiver source",
    "§6.4 filter and expressions",
    "§6.4 epoch",
    "§6.4 runtime metric",
    "§5.5 events as read",
    "§5.5 partition",
];

/// What services and devices use over HTTPS, by its path.
const REST: [&str; 16] = [
    "list",
    "bulk",
    "devices",
    "modules",
    "query",
    "purge",
    "twins",
    "methods",
    "digital twins",
    "configurations",
    "statistics",
    "import and export jobs",
    "scheduled jobs",
    "file upload",
    "device HTTP",
    "objects and errors",
];

/// The rows that must be there.
fn required() -> impl Iterator<Item = String> {
    let rules = (1..=10).map(|number| format!("rule {number}"));
    let aspects = ASPECTS.iter().map(|aspect| format!("§13 {aspect}"));
    let needs = (1..=17).map(|number| format!("§15 {number}"));
    let quirks = (1..=20).chain([22, 23, 27, 29, 30]);
    let quirks = quirks.map(|number| format!("§12 {number}"));
    let bounds = BOUNDS.iter().map(|bound| format!("bound {bound}"));
    let services = SERVICES.map(str::to_owned);
    let rest = REST.iter().map(|path| format!("§6.5 {path}"));
    rules
        .chain(aspects)
        .chain(needs)
        .chain(quirks)
        .chain(services)
        .chain(rest)
        .chain(bounds)
}

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let text = std::fs::read_to_string(shell::root().join(LIST)).unwrap_or_default();
    list(&text, files)
}

fn list(text: &str, files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let rows: Vec<Row<'_>> = (1..).zip(text.lines()).filter_map(Row::read).collect();
    for wanted in required() {
        match rows.iter().filter(|row| row.name == wanted).count() {
            1 => {}
            0 => findings.push(Finding::new(LIST, 0, format!("there is no row \"{wanted}\""))),
            _ => findings.push(Finding::new(
                LIST,
                0,
                format!("\"{wanted}\" has more than one row"),
            )),
        }
    }
    for row in &rows {
        findings.extend(row.check(files));
    }
    findings
}

struct Row<'a> {
    line: usize,
    name: &'a str,
    tests: &'a str,
}

impl<'a> Row<'a> {
    /// `| row | what | tests |`, if it is one and no head of a table.
    fn read((line, text): (usize, &'a str)) -> Option<Self> {
        let mut cells = text
            .strip_prefix('|')?
            .strip_suffix('|')?
            .split('|')
            .map(str::trim);
        let (name, _, tests) = (cells.next()?, cells.next()?, cells.next()?);
        let is_head = name == "row" || name.starts_with("---");
        (!is_head).then_some(Self { line, name, tests })
    }

    fn check(&self, files: &[File]) -> Vec<Finding> {
        let found = |message: String| Finding::new(LIST, self.line, format!("{}: {message}", self.name));
        let tests: Vec<&str> = self.tests.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            return vec![found("it has no test".to_owned())];
        }
        let missing = tests.into_iter().filter(|test| !is_test(test, files));
        missing
            .map(|test| found(format!("there is no test {test}")))
            .collect()
    }
}

/// Whether `FILE::NAME` is a test function.
fn is_test(test: &str, files: &[File]) -> bool {
    let Some((path, name)) = test.rsplit_once("::") else {
        return false;
    };
    let path = if path.starts_with("src/") {
        format!("{CRATE}/{path}")
    } else {
        format!("{CRATE}/tests/wire/{path}")
    };
    let Some(file) = files.iter().find(|file| file.path == Path::new(&path)) else {
        return false;
    };
    let lines: Vec<&str> = file.code.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    let place = lines.iter().position(|line| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.starts_with(&head)
    });
    place.is_some_and(|place| {
        let above = lines[..place].iter().rev();
        above
            .take_while(|line| line.starts_with("#["))
            .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> [File; 1] {
        let text = "#[tokio::test]\nasync fn shown() {}\nfn helper() {}\n// #[test]\n// fn comment() {}\n";
        let path = format!("{CRATE}/tests/wire/door.rs");
        [File::new(Path::new(&path), text.to_owned())]
    }

    fn messages(row: &str) -> Vec<String> {
        let row = Row::read((1, row)).unwrap();
        let findings = row.check(&files());
        findings.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_row_names_tests_that_are_there() {
        assert_eq!(messages("| rule 1 | x | `door.rs::shown` |"), [""; 0]);
        for absent in [
            "door.rs::helper",
            "door.rs::comment",
            "door.rs::hidden",
            "gate.rs::shown",
            "shown",
        ] {
            let row = format!("| rule 1 | x | `door.rs::shown`, `{absent}` |");
            assert_eq!(messages(&row), [format!("rule 1: there is no test {absent}")]);
        }
        assert_eq!(messages("| rule 1 | x | none |"), ["rule 1: it has no test"]);
    }

    #[test]
    fn each_row_stands_there_once() {
        let row = "| rule 1 | x | `door.rs::shown` |\n";
        let of = |text: &str| -> Vec<String> {
            let findings = list(text, &files()).into_iter();
            findings.map(|finding| finding.message).collect()
        };
        assert!(of("").contains(&"there is no row \"rule 1\"".to_owned()));
        assert!(!of(row).iter().any(|message| message.contains("\"rule 1\"")));
        assert!(of(&row.repeat(2)).contains(&"\"rule 1\" has more than one row".to_owned()));
    }
}
