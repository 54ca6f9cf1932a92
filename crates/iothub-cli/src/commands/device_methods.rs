//! `iothub device methods`

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::live::{Ended, Live, stream_ended};
use super::reply::Reply;
use crate::args::device_live::Methods;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::plan::connecting;

/// Answers calls, and prints each.
pub(crate) fn run(mut args: Methods, io: &mut Io) -> Result<Exit, Failure> {
    let reply = Reply::of(&args.reply, args.connect.timeout.0)?;
    let builder = connecting::builder(&mut args.connect, ("", false), io)?;
    let runtime = super::runtime()?;
    let done = runtime.block_on(async {
        let mut live = Live::connect(builder).await?;
        let ended = answer(&args, &reply, &mut live, io).await?;
        live.close(ended).await
    });
    runtime.shutdown_background();
    done
}

async fn answer(args: &Methods, reply: &Reply, live: &mut Live, io: &mut Io) -> Result<Ended, Failure> {
    let client = live.client.clone();
    let mut methods = live
        .unless_stopped(client.methods())
        .await?
        .map_err(|error| Failure::from(&error))?;
    let mut answering: FuturesUnordered<BoxFuture<'_, String>> = FuturesUnordered::new();
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 || !answering.is_empty() {
        tokio::select! {
            biased;
            Some(line) = answering.next() => io.print(&line)?,
            call = methods.next(), if left > 0 && answering.len() < AT_ONCE => match call {
                None => return Ok(stream_ended(methods.ended())),
                Some(call) => {
                    live.catch_up(io);
                    left -= 1;
                    answering.push(Box::pin(reply.clone().answer(call, args.connect.output)));
                }
            },
            ended = live.ended(io) => return Ok(ended),
        }
    }
    Ok(Ended::Stopped)
}

/// How many commands of the shell run at once.
const AT_ONCE: usize = 8;
