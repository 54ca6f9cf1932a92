//! A device client that does one job: our end of a case of `tests/interop` in which the hub is not ours.
//!
//! Standard input has one JSON object, a [`Job`]; standard output gets one, what came of it.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::time::Duration;

use futures_util::future::join_all;
use iothub_address::{ConnectionString, HubHost, HubName, Identity};
use iothub_amqp::{Batching, Command, DeviceClient, DeviceClientBuilder, Message, Recover};
use iothub_sas::SasToken;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    sign_in: SignIn,
    /// PEM.
    ca: std::path::PathBuf,
    window: usize,
    batched: bool,
    /// How many messages to send, `m-0` and so on.
    send: usize,
    /// How each command is settled, in their order; then the client leaves.
    #[serde(default)]
    settle: Vec<Word>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum SignIn {
    /// By claims.
    ConnectionString(String),
    Plain {
        host: String,
        port: u16,
        hub: String,
        device: String,
        token: String,
    },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Complete,
    Abandon,
    Reject,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let job: Job = serde_json::from_reader(std::io::stdin())?;
    let done = job.done().await;
    let said = done.unwrap_or_else(|error| json!({"error": error.to_string()}));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{said}")?;
    Ok(out.flush()?)
}

impl Job {
    async fn done(&self) -> Result<Value, Failure> {
        let client = self.builder()?.connect().await?;
        let tickets: Vec<_> = (0..self.send)
            .map(|number| {
                client.enqueue(Message::new(format!("body {number}")).message_id(format!("m-{number}")))
            })
            .collect::<Result<_, _>>()?;
        for outcome in join_all(tickets).await {
            outcome?;
        }
        let mut received = Vec::new();
        if !self.settle.is_empty() {
            let mut commands = client.commands().await?;
            for word in &self.settle {
                let command = commands.next().await.ok_or("the commands have ended")?;
                received.push(shown(&command));
                match word {
                    Word::Complete => command.complete().await?,
                    Word::Abandon => command.abandon().await?,
                    Word::Reject => command.reject().await?,
                }
            }
        }
        let statistics = client.statistics();
        client.close_within(PATIENCE).await?;
        Ok(json!({
            "error": null,
            "accepted": statistics.accepted,
            "resent": statistics.resent,
            "transfers": statistics.transfers,
            "received": received,
        }))
    }

    fn builder(&self) -> Result<DeviceClientBuilder, Failure> {
        let builder = match &self.sign_in {
            SignIn::ConnectionString(string) => DeviceClient::with(&ConnectionString::parse(string)?)?,
            SignIn::Plain {
                host,
                port,
                hub,
                device,
                token,
            } => {
                let identity = Identity::Device(device.parse()?);
                DeviceClient::builder(HubHost::parse(host)?, identity, SasToken::parse(token)?)
                    .hub(HubName::parse(hub)?)
                    .port(*port)
            }
        };
        Ok(builder
            .root_certificate(CertificateDer::from_pem_file(&self.ca)?)
            .window(self.window)
            .batching(if self.batched { Batching::On } else { Batching::Off })
            // What is lost here is lost: a case may not pass by a second attempt.
            .recovery(Recover::Never))
    }
}

fn shown(command: &Command) -> Value {
    let message = command.message();
    json!({
        "id": message.message_id,
        "body": String::from_utf8_lossy(&message.body),
        "properties": message.properties,
        "delivery_count": message.delivery_count,
    })
}

const PATIENCE: Duration = Duration::from_secs(10);
