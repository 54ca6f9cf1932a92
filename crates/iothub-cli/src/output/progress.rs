//! A progress bar on standard error, for people at a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;
use crate::io::Io;

/// Shows how many messages have their outcome. Where standard error is no terminal it shows nothing.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Of so many in all, if that is known.
    pub(crate) fn start(total: Option<u64>, io: &Io) -> Self {
        Self::counting("messages", total, io)
    }

    /// The same of other things.
    pub(crate) fn counting(what: &str, total: Option<u64>, io: &Io) -> Self {
        if !io.shows_progress() {
            return Self { bar: None };
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(REDRAWS_A_SECOND));
        let template = match total {
            Some(_) => format!("{{bar:30}} {{pos}}/{{len}} {what}  {{per_sec}}  {{eta}} left"),
            None => format!("{{spinner}} {{pos}} {what}  {{per_sec}}"),
        };
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar: Some(bar) }
    }

    pub(crate) fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// Writes a line of data; where the bar stands, it makes room for it.
    pub(crate) fn print(&self, line: &str, io: &mut Io) -> Result<(), Failure> {
        match &self.bar {
            Some(bar) => bar.suspend(|| io.print(line)),
            None => io.print(line),
        }
    }

    /// Does something that writes to the terminal; where the bar stands, it makes room for it.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

const REDRAWS_A_SECOND: u8 = 10;
