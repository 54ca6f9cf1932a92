//! What `-v` shows: the events of our own crates, on standard error.

use std::io;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Shows warnings, and more with each `-v`. Only our crates: what others log at these levels is theirs to decide,
/// and the AMQP engine's own traces hold passwords.
pub(crate) fn start(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // A target is matched by its beginning: this is every crate of ours.
    let targets = Targets::new()
        .with_target("iothub", level)
        .with_target("rustls", LevelFilter::WARN);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false);
    // A process that drives several commands keeps the first's.
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(targets))
        .try_init();
}
