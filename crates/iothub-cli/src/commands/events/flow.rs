//! How the events flow, by partition: how many, how fast, how far behind, what is missing.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use iothub_amqp::{Progress, Read};
use serde::Serialize;
use tokio::time::Instant;

use crate::args::Output;
use crate::output::{human, json, table};

pub(super) struct Flow {
    output: Output,
    every: Duration,
    /// Whether each drawing takes the place of the one before.
    is_live: bool,
    /// How many lines of the last drawing stand right above.
    drawn: usize,
    has_names: bool,
    last: Instant,
    tallies: BTreeMap<u32, Tally>,
}

/// What has come of a partition since the beginning, of what was asked for.
#[derive(Clone, Copy, Default)]
struct Tally {
    events: u64,
    /// Of them, those that were drawn.
    shown: u64,
    missing: u64,
    repeated: u64,
}

/// Its fields are a contract.
#[derive(Serialize)]
struct Line {
    time: String,
    partition: u32,
    events: u64,
    rate: f64,
    lag: Option<u64>,
    behind: Option<f64>,
    missing: u64,
    repeated: u64,
    last: Option<String>,
}

impl Flow {
    pub(super) fn new(output: Output, every: Duration, is_terminal: bool) -> Self {
        Self {
            output,
            every,
            is_live: is_terminal && output == Output::Text,
            drawn: 0,
            has_names: false,
            last: Instant::now(),
            tallies: BTreeMap::new(),
        }
    }

    pub(super) fn saw(&mut self, partition: u32) {
        self.tallies.entry(partition).or_default().events += 1;
    }

    pub(super) fn noticed(&mut self, read: &Read) {
        match read {
            Read::Gap(gap) => {
                let missing = u64::try_from(gap.last - gap.first + 1).unwrap_or_default();
                self.tallies.entry(gap.partition).or_default().missing += missing;
            }
            Read::Duplicate(again) => self.tallies.entry(again.partition).or_default().repeated += 1,
            _ => {}
        }
    }

    pub(super) const fn make_way(&mut self) {
        self.drawn = 0;
    }

    pub(super) fn due(&self) -> Instant {
        self.last + self.every
    }

    /// The lines of a drawing.
    pub(super) fn draw(&mut self, progress: impl Iterator<Item = Progress>) -> Vec<String> {
        let (now, time) = (Instant::now(), SystemTime::now());
        let since = now.duration_since(std::mem::replace(&mut self.last, now));
        let lines: Vec<_> = progress
            .map(|progress| {
                let tally = self.tallies.entry(progress.partition).or_default();
                line(&progress, tally, (time, since))
            })
            .collect();
        match self.output {
            Output::Json => lines.iter().map(json::line).collect(),
            Output::Csv => {
                let names = (!std::mem::replace(&mut self.has_names, true)).then(|| table::csv(CSV_COLUMNS));
                names.into_iter().chain(lines.iter().map(csv)).collect()
            }
            Output::Text => self.text(&lines),
        }
    }

    fn text(&mut self, lines: &[Line]) -> Vec<String> {
        let mut rows: Vec<_> = lines.iter().map(row).collect();
        rows.push(row_of_all(lines));
        let shown = table::text(&COLUMNS, &rows);
        let mut shown: Vec<_> = shown.lines().map(str::to_owned).collect();
        if self.is_live {
            let up = std::mem::replace(&mut self.drawn, shown.len());
            if up > 0 {
                // Up to its first line, and away with it.
                shown[0].insert_str(0, &format!("\u{1b}[{up}A\u{1b}[J"));
            }
        } else if std::mem::replace(&mut self.has_names, true) {
            shown.insert(0, String::new());
        }
        shown
    }
}

fn line(progress: &Progress, tally: &mut Tally, (time, since): (SystemTime, Duration)) -> Line {
    let new = tally.events - std::mem::replace(&mut tally.shown, tally.events);
    let rate = new as f64 / since.as_secs_f64().max(f64::EPSILON);
    let lag = progress.lag();
    // Who has taken all is not behind, however long ago the last was.
    let behind = match (lag, progress.enqueued_at) {
        (Some(0), _) => Some(Duration::ZERO),
        (_, Some(enqueued)) => Some(time.duration_since(enqueued).unwrap_or_default()),
        _ => None,
    };
    Line {
        time: human::rfc3339(time),
        partition: progress.partition,
        events: tally.events,
        rate: tenths(rate),
        lag,
        behind: behind.map(|behind| tenths(behind.as_secs_f64())),
        missing: tally.missing,
        repeated: tally.repeated,
        last: progress.enqueued_at.map(human::rfc3339),
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn row(line: &Line) -> Vec<String> {
    vec![
        line.partition.to_string(),
        line.events.to_string(),
        format!("{:.1}", line.rate),
        line.lag.map_or_else(unknown, |lag| lag.to_string()),
        line.behind
            .map_or_else(unknown, |behind| format!("{behind:.1} s")),
        line.missing.to_string(),
        line.repeated.to_string(),
        line.last.clone().unwrap_or_else(unknown),
    ]
}

fn row_of_all(lines: &[Line]) -> Vec<String> {
    let sum = |of: fn(&Line) -> u64| lines.iter().map(of).sum::<u64>().to_string();
    let lag: Option<u64> = lines.iter().map(|line| line.lag).sum();
    let behind = lines.iter().filter_map(|line| line.behind).reduce(f64::max);
    vec![
        "all".to_owned(),
        sum(|line| line.events),
        format!("{:.1}", lines.iter().map(|line| line.rate).sum::<f64>()),
        lag.map_or_else(unknown, |lag| lag.to_string()),
        behind.map_or_else(unknown, |behind| format!("{behind:.1} s")),
        sum(|line| line.missing),
        sum(|line| line.repeated),
        lines
            .iter()
            .filter_map(|line| line.last.clone())
            .max()
            .unwrap_or_else(unknown),
    ]
}

fn csv(line: &Line) -> String {
    let behind = line.behind.map(|behind| behind.to_string()).unwrap_or_default();
    let lag = line.lag.map(|lag| lag.to_string()).unwrap_or_default();
    table::csv([
        line.time.as_str(),
        &line.partition.to_string(),
        &line.events.to_string(),
        &line.rate.to_string(),
        &lag,
        &behind,
        &line.missing.to_string(),
        &line.repeated.to_string(),
        line.last.as_deref().unwrap_or_default(),
    ])
}

fn unknown() -> String {
    "-".to_owned()
}

const COLUMNS: [&str; 8] = [
    "partition",
    "events",
    "per second",
    "lag",
    "behind",
    "missing",
    "repeated",
    "last",
];
const CSV_COLUMNS: [&str; 9] = [
    "time",
    "partition",
    "events",
    "rate",
    "lag",
    "behind",
    "missing",
    "repeated",
    "last",
];
