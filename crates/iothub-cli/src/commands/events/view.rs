//! What is shown of the events: each of them, or how they flow.

use std::time::Duration;

use iothub_amqp::{Event, Progress, Read};
use tokio::time::Instant;

use super::Page;
use super::flow::Flow;
use crate::args::{Format, Output};
use crate::failure::Failure;
use crate::io::Io;
use crate::output::{event, table};

pub(super) struct View {
    page: Page,
    kind: Kind,
}

enum Kind {
    Lines(Format),
    /// Of CSV.
    Rows,
    Flow(Flow),
}

impl View {
    /// With a time, how they flow, and that anew each time.
    pub(super) fn of(output: Output, every: Option<Duration>, io: &mut Io) -> Result<Self, Failure> {
        let kind = match (every, output) {
            (Some(every), _) => Kind::Flow(Flow::new(output, every, io.stdout_is_terminal)),
            (None, Output::Text) => Kind::Lines(Format::Text),
            (None, Output::Json) => Kind::Lines(Format::Json),
            (None, Output::Csv) => Kind::Rows,
        };
        let mut page = Page::new(io.take_stdout(), "standard output");
        if matches!(kind, Kind::Rows) {
            page.line(&table::csv(event::FIELDS))?;
        }
        Ok(Self { page, kind })
    }

    /// Shows an event; `json` is its line of JSON where there is one already.
    pub(super) fn show(&mut self, event: &Event, json: Option<String>) -> Result<(), Failure> {
        match &mut self.kind {
            Kind::Lines(format) => {
                let line = json.filter(|_| *format == Format::Json);
                self.page
                    .line(&line.unwrap_or_else(|| event::read_line(event, *format)))
            }
            Kind::Rows => self.page.line(&event::read_row(event)),
            Kind::Flow(flow) => {
                flow.saw(event.partition);
                Ok(())
            }
        }
    }

    /// Takes what is no event.
    pub(super) fn noticed(&mut self, read: &Read) {
        if let Kind::Flow(flow) = &mut self.kind {
            flow.noticed(read);
        }
    }

    /// Something else is written where it may stand.
    pub(super) fn make_way(&mut self) {
        if let Kind::Flow(flow) = &mut self.kind {
            flow.make_way();
        }
    }

    /// When it is to be drawn the next time.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Flow(flow) => Some(flow.due()),
            Kind::Lines(_) | Kind::Rows => None,
        }
    }

    pub(super) fn draw(&mut self, progress: impl Iterator<Item = Progress>) -> Result<(), Failure> {
        if let Kind::Flow(flow) = &mut self.kind {
            flow.draw(progress)
                .iter()
                .try_for_each(|line| self.page.line(line))?;
        }
        self.page.flush()
    }

    /// Shows what has come since it was last drawn.
    pub(super) fn finish(&mut self, progress: impl Iterator<Item = Progress>) -> Result<(), Failure> {
        self.draw(progress)
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.page.flush()
    }

    /// Nobody reads any more, which is no failure.
    pub(super) const fn is_closed(&self) -> bool {
        self.page.is_closed()
    }
}
