//! `iothub c2d send`

use std::time::{Instant, SystemTime};

use iothub_address::Identity;
use iothub_amqp::{
    Ack, DispatchError, FeedbackBatches, FeedbackRecord, FeedbackStatus, Message, ServiceClient,
};
use serde_json::json;

use super::feedback::ended;
use crate::args::c2d::{Send, Which};
use crate::args::{Input, Output};
use crate::commands::emulator_run::stop::StopSignals;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::human::{self, OneLine};
use crate::output::{identity, rows};
use crate::plan::service::Service;
use crate::plan::{secrets, sending};

pub(super) fn run(args: Send, io: &mut Io) -> Result<Exit, Failure> {
    let ack = match (args.ack, args.wait) {
        (None | Some(Which::Full), true) => Ack::Full,
        (Some(_), true) => {
            let why = Failure::usage("--wait needs to hear of each end of the message");
            return Err(why.hint("leave --ack away, or say --ack full"));
        }
        (given, false) => ack(given.unwrap_or(Which::None)),
    };
    let reads_stdin = args.body == "-";
    let service = Service::of(args.everywhere, ("BODY '-'", reads_stdin), io)?;
    let body = if reads_stdin {
        secrets::read_bytes(&Input::Stdin, io)?.to_vec()
    } else {
        args.body.into_encoded_bytes()
    };
    let id = match args.message_id {
        Some(id) => id,
        None => sending::random_id()?,
    };
    let mut message = Message::new(body).message_id(&id);
    if let Some(content_type) = args.content_type {
        message = message.content_type(content_type);
    }
    if let Some(span) = args.expires {
        message = message.expires_at(SystemTime::now() + span.0);
    }
    for (key, value) in args.properties {
        message = message.property(key, value);
    }
    let to = match args.module {
        Some(module) => Identity::Module(args.id, module),
        None => Identity::Device(args.id),
    };
    let sent = Sent {
        id,
        to,
        since: Instant::now(),
    };
    let runtime = crate::commands::runtime()?;
    let done = runtime.block_on(async {
        let mut stop = StopSignals::new()?;
        tokio::select! {
            biased;
            () = stop.received() => Err(Failure::interrupted().hint(format!("the hub may have message {}", sent.id))),
            done = send(&service, &sent, message, ack, args.wait) => done,
        }
    });
    runtime.shutdown_background();
    sent.tell(done?, service.output, io)
}

/// The message on its way.
struct Sent {
    id: String,
    to: Identity,
    since: Instant,
}

/// Gives what has become of it, if that was to be waited for.
async fn send(
    service: &Service,
    sent: &Sent,
    message: Message,
    ack: Ack,
    wait: bool,
) -> Result<Option<FeedbackRecord>, Failure> {
    let client = service.client()?.connect().await?;
    // Before it is sent: feedback has a place to go then.
    let feedback = match wait {
        true => Some(client.feedback().await.map_err(|error| Failure::from(&error))?),
        false => None,
    };
    client
        .send(&sent.to, message, ack)
        .await
        .map_err(|error| failure(&error))?;
    let record = match feedback {
        Some(feedback) => Some(await_feedback(feedback, &sent.id).await?),
        None => None,
    };
    close(client).await;
    Ok(record)
}

/// What is told of others is held back meanwhile, and goes back to the hub with the stream.
async fn await_feedback(mut feedback: FeedbackBatches, id: &str) -> Result<FeedbackRecord, Failure> {
    let mut others = Vec::new();
    while let Some(batch) = feedback.next().await {
        let records = match batch.records() {
            Ok(records) => records,
            Err(error) => {
                tracing::warn!("what is no feedback stays with the hub: {error}");
                others.push(batch);
                continue;
            }
        };
        let Some(record) = records
            .iter()
            .find(|record| record.original_message_id == id)
            .cloned()
        else {
            others.push(batch);
            continue;
        };
        let is_alone = records.len() == 1;
        let settled = if is_alone {
            batch.complete().await
        } else {
            batch.abandon().await
        };
        if let Err(error) = settled {
            tracing::debug!("the hub tells it once more: {error}");
        }
        return Ok(record);
    }
    Err(ended(feedback.ended()))
}

async fn close(client: ServiceClient) {
    if let Err(error) = client.close().await {
        tracing::debug!("closing: {error}");
    }
}

const fn ack(which: Which) -> Ack {
    match which {
        Which::None => Ack::None,
        Which::Positive => Ack::Positive,
        Which::Negative => Ack::Negative,
        Which::Full => Ack::Full,
    }
}

impl Sent {
    fn tell(&self, record: Option<FeedbackRecord>, output: Output, io: &mut Io) -> Result<Exit, Failure> {
        let ms = (self.since.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        let status = record.as_ref().map(|record| record.status.as_str());
        if output == Output::Text {
            let told = status
                .map(|status| format!("  {}", OneLine(status)))
                .unwrap_or_default();
            io.print(&format!("accepted  {}  {ms:.1} ms{told}", OneLine(&self.id)))?;
        } else {
            let at = record.as_ref().and_then(|record| record.at).map(human::rfc3339);
            let shown = json!({
                "message_id": self.id,
                "device": self.to.device().as_str(),
                "module": self.to.module().map(|module| module.as_str()),
                "outcome": "accepted",
                "ms": ms,
                "feedback": status,
                "feedback_time": at,
            });
            rows::print_one(&identity::object(shown), output, io)?;
        }
        Ok(match record.map(|record| record.status) {
            None | Some(FeedbackStatus::Success) => Exit::Done,
            Some(_) => Exit::Rejected,
        })
    }
}

fn failure(error: &DispatchError) -> Failure {
    let refused = match error {
        DispatchError::NotFound(condition)
        | DispatchError::QueueFull(condition)
        | DispatchError::NoRights(condition)
        | DispatchError::Rejected(condition) => Some(condition),
        _ => None,
    };
    let failure = Failure::new(Exit::from(error), error.to_string()).refused_as(refused);
    match error {
        DispatchError::NotFound(_) => failure.hint("check the device's id: 'iothub registry list'"),
        DispatchError::QueueFull(_) => {
            failure.hint("let the device take its messages, or take them away: 'iothub c2d purge'")
        }
        DispatchError::NoRights(_) => failure.hint("take a policy with ServiceConnect"),
        DispatchError::TooLarge { .. } => {
            failure.hint("a hub takes 64 KiB a message to a device, properties included")
        }
        // It may be there: whoever sends it again sends it twice.
        DispatchError::Unknown(_) => failure.retryable(false),
        _ => failure,
    }
}
