//! `iothub device listen`

use iothub_amqp::{Command, SettleError};

use super::live::{Ended, Live, stream_ended};
use crate::args::Format;
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
        if let Err(failure) = show_and_settle(command, args.settle, args.connect.output, io).await {
            return Ok(Ended::Unwritten(failure));
        }
        left -= 1;
    }
    Ok(Ended::Stopped)
}

/// Shows a message, and only then gives the word on it: what nobody could read stays with the hub, which deletes what it
/// has the word on.
pub(super) async fn show_and_settle(
    command: Command,
    word: Settle,
    format: Format,
    io: &mut Io,
) -> Result<(), Failure> {
    let message = command.message().clone();
    if let Err(failure) = io.hand_over(&incoming::command(&message, told(word), format)) {
        // Without the link the hub has it back anyway.
        let _ = settle(command, Settle::Abandon).await;
        return Err(failure);
    }
    match settle(command, word).await {
        Ok(()) => Ok(()),
        Err(SettleError::LockLost) => io.print(&incoming::lock_lost(&message, format)),
        Err(error) => {
            io.note(&format!("warning: a message may come again: {error}"));
            Ok(())
        }
    }
}

async fn settle(command: Command, settle: Settle) -> Result<(), SettleError> {
    match settle {
        Settle::Complete => command.complete().await,
        Settle::Abandon => command.abandon().await,
        Settle::Reject => command.reject().await,
    }
}

/// What a word makes of a message.
const fn told(word: Settle) -> &'static str {
    match word {
        Settle::Complete => "completed",
        Settle::Abandon => "abandoned",
        Settle::Reject => "rejected",
    }
}
