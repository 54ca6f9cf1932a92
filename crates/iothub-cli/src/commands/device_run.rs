//! `iothub device run`: all of a device's work at once.

use std::time::Instant;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use iothub_amqp::{DesiredChange, Message};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::device_listen::show_and_settle;
use super::live::{Ended, Live, stream_ended};
use super::reply::Reply;
use crate::args::Format;
use crate::args::device_live::{Run, Settle};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::io::Io;
use crate::output::incoming;
use crate::output::outcome::Outcome;
use crate::plan::connecting;

pub(crate) fn run(mut args: Run, io: &mut Io) -> Result<Exit, Failure> {
    let reply = Reply::of(&args.reply, args.connect.timeout.0)?;
    if args.interval.0.is_zero() {
        return Err(Failure::usage("--interval takes more than no time"));
    }
    let builder = connecting::builder(&mut args.connect, ("", false), io)?;
    let runtime = super::runtime()?;
    let done = runtime.block_on(async {
        let mut live = Live::connect(builder).await?;
        let ended = work(&args, &reply, &mut live, io).await?;
        live.close(ended).await
    });
    runtime.shutdown_background();
    done
}

async fn work(args: &Run, reply: &Reply, live: &mut Live, io: &mut Io) -> Result<Ended, Failure> {
    let (client, format) = (live.client.clone(), args.connect.output);
    let twin = client.twin();
    let opening = async { tokio::join!(client.commands(), client.methods(), twin.desired()) };
    let (commands, methods, changes) = live.unless_stopped(opening).await?;
    let refused = |error| Failure::from(&error);
    let (mut commands, mut methods) = (commands.map_err(refused)?, methods.map_err(refused)?);
    let mut changes = changes.map_err(refused)?;
    let mut sent = 0;
    let mut doing: FuturesUnordered<BoxFuture<'_, String>> = FuturesUnordered::new();
    let mut ticks = interval(args.interval.0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while args.count.is_none_or(|count| sent < count) || !doing.is_empty() {
        let more = args.count.is_none_or(|count| sent < count);
        tokio::select! {
            biased;
            Some(line) = doing.next() => io.print(&line)?,
            _ = ticks.tick(), if more && doing.len() < AT_ONCE => {
                sent += 1;
                doing.push(Box::pin(send(&client, args.body.replace("{number}", &sent.to_string()), sent, format)));
            }
            command = commands.next() => match command {
                None => return Ok(stream_ended(commands.ended())),
                Some(command) => {
                    live.catch_up(io);
                    if let Err(failure) = show_and_settle(command, Settle::Complete, format, io).await {
                        return Ok(Ended::Unwritten(failure));
                    }
                }
            },
            call = methods.next(), if doing.len() < AT_ONCE => match call {
                None => return Ok(stream_ended(methods.ended())),
                Some(call) => {
                    live.catch_up(io);
                    doing.push(Box::pin(reply.clone().answer(call, format)));
                }
            },
            change = changes.next(), if doing.len() < AT_ONCE => match change {
                None => return Ok(stream_ended(changes.ended())),
                Some(change) => {
                    live.catch_up(io);
                    io.print(&incoming::desired(&change, format))?;
                    doing.push(Box::pin(report(twin.clone(), change, format)));
                }
            },
            ended = live.ended(io) => return Ok(ended),
        }
    }
    Ok(Ended::Stopped)
}

async fn send(client: &iothub_amqp::DeviceClient, body: String, number: u64, format: Format) -> String {
    let since = Instant::now();
    let id = number.to_string();
    let message = Message::new(body)
        .message_id(id.as_str())
        .content_type("application/json")
        .content_encoding("utf-8");
    let result = client.send(message).await;
    Outcome::of(&id, &result, since.elapsed()).line(format)
}

/// A device that does as it is told: what is desired is reported back.
async fn report(twin: iothub_amqp::Twin, change: DesiredChange, format: Format) -> String {
    match twin.report(&Value::Object(change.values)).await {
        Ok(version) => incoming::reported(version, format),
        Err(error) if format == Format::Json => {
            serde_json::json!({ "kind": "reported", "error": chain(&error) }).to_string()
        }
        Err(error) => format!("not reported  {}", crate::output::human::OneLine(&chain(&error))),
    }
}

/// How much is done at once.
const AT_ONCE: usize = 16;
