//! `iothub device listen`

use iothub_amqp::{Command, SettleError};

use super::live::{Ended, Live, stream_ended};
use crate::args::device_live::{Listen, Settle};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::incoming;
use crate::plan::connecting;

/// Prints what comes, and gives the word on it.
pub(crate) fn run(mut args: Listen, io: &mut Io) -> Result<Exit, Failure> {
    let builder = connecting::builder(&mut args.connect, ("", false), io)?;
    let runtime = super::runtime()?;
    let done = runtime.block_on(async {
        let mut live = Live::connect(builder).await?;
        let ended = listen(&args, &mut live, io).await?;
        live.close(ended).await
    });
    runtime.shutdown_background();
    done
}

async fn listen(args: &Listen, live: &mut Live, io: &mut Io) -> Result<Ended, Failure> {
    let client = live.client.clone();
    let mut commands = live
        .unless_stopped(client.commands())
        .await?
        .map_err(|error| Failure::from(&error))?;
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let command = tokio::select! {
            biased;
            command = commands.next() => command,
            ended = live.ended(io) => return Ok(ended),
        };
        let Some(command) = command else {
            return Ok(stream_ended(commands.ended()));
        };
        live.catch_up(io);
        let message = command.message().clone();
        let word = word(settle(command, args.settle).await, args.settle);
        io.print(&incoming::command(&message, word, args.connect.output))?;
        left -= 1;
    }
    Ok(Ended::Stopped)
}

pub(super) async fn settle(command: Command, settle: Settle) -> Result<(), SettleError> {
    match settle {
        Settle::Complete => command.complete().await,
        Settle::Abandon => command.abandon().await,
        Settle::Reject => command.reject().await,
    }
}

/// What became of the word on a message.
pub(super) fn word(result: Result<(), SettleError>, settle: Settle) -> &'static str {
    match (result, settle) {
        (Err(_), _) => "lock-lost",
        (Ok(()), Settle::Complete) => "completed",
        (Ok(()), Settle::Abandon) => "abandoned",
        (Ok(()), Settle::Reject) => "rejected",
    }
}
