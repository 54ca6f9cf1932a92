//! What the hub is told to do, and how it does it.

use std::time::Duration;

use iothub_address::{DeviceId, Identity};
use iothub_emulator::{
    Ack, CloseReason, CloudMessage, Emulator, Event, Fault, FaultKind, Feedback, MethodCall, Notice, Status,
    Subscription, What,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::Failure;
use crate::setup::Proof;
use crate::shown;

/// One line. `whom` is `DEVICE` or `DEVICE/MODULE`.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Order {
    Register {
        whom: String,
        proof: Proof,
    },
    Remove {
        whom: String,
    },
    Disable {
        device: String,
    },
    /// The next events, or all there are after the time: `{"events": […]}`.
    Events {
        count: usize,
        within_s: u64,
    },
    /// The next record of feedback.
    Feedback {
        within_s: u64,
    },
    Send {
        whom: String,
        message: Box<Message>,
    },
    /// How many messages wait for it.
    Waiting {
        whom: String,
    },
    /// Takes away the messages that wait for it.
    Purge {
        whom: String,
    },
    /// The answer of a direct method.
    Call {
        whom: String,
        method: String,
        #[serde(default)]
        payload: Value,
        response_timeout_s: Option<u64>,
        connect_timeout_s: Option<u64>,
    },
    Twin {
        whom: String,
    },
    PatchDesired {
        whom: String,
        patch: Value,
    },
    PatchTags {
        whom: String,
        patch: Value,
    },
    Inject {
        fault: String,
        whom: Option<String>,
        byebye: Option<bool>,
        delay_s: Option<u64>,
        duration_s: Option<u64>,
    },
    TurnClock {
        by_s: u64,
    },
    /// What happened at the door so far, a text each.
    Activity,
    /// Waits until so many have come in all, and those were let in.
    AwaitConnections {
        count: usize,
        within_s: u64,
    },
}

/// A cloud-to-device message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    body: String,
    id: Option<String>,
    correlation_id: Option<String>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    #[serde(default)]
    properties: Map<String, Value>,
    ack: Option<String>,
    ttl_s: Option<u64>,
}

/// Where orders come in: the hub, and how far its logs have been read.
pub(crate) struct Desk {
    hub: Emulator,
    events: Subscription<Event>,
    feedback: Subscription<Feedback>,
}

impl Desk {
    pub(crate) fn at(hub: Emulator) -> Self {
        Self {
            events: hub.journal().subscribe_from_start(),
            feedback: hub.feedback().subscribe_from_start(),
            hub,
        }
    }

    pub(crate) async fn close(self) {
        self.hub.stop().await;
    }

    pub(crate) async fn obey(&mut self, order: Order) -> Result<Value, Failure> {
        let hub = &self.hub;
        Ok(match order {
            Order::Register { whom, proof } => {
                let authentication = proof.authentication()?;
                match identity(&whom)? {
                    Identity::Module(device, module) => {
                        hub.register_module(device, module, authentication).await?;
                    }
                    other => {
                        let device = other.device().clone();
                        hub.register_device(device, authentication).await?;
                    }
                }
                done()
            }
            Order::Remove { whom } => {
                hub.remove(&identity(&whom)?).await?;
                done()
            }
            Order::Disable { device } => {
                hub.set_status(&DeviceId::parse(&device)?, Status::Disabled)
                    .await?;
                done()
            }
            Order::Events { count, within_s } => {
                let events = next(&mut self.events, count, Duration::from_secs(within_s)).await?;
                json!({"events": events.iter().map(|event| shown::event(event)).collect::<Vec<_>>()})
            }
            Order::Feedback { within_s } => {
                let records = next(&mut self.feedback, 1, Duration::from_secs(within_s)).await?;
                json!({"feedback": records.first().map(|record| shown::feedback(record))})
            }
            Order::Send { whom, message } => {
                let message = message.written(hub).await?;
                hub.send_to_device(identity(&whom)?, message).await?;
                done()
            }
            Order::Waiting { whom } => json!({"waiting": hub.waiting_messages(identity(&whom)?).await?}),
            Order::Purge { whom } => {
                json!({ "purged": hub.purge_messages(identity(&whom)?).await? })
            }
            Order::Call {
                whom,
                method,
                payload,
                response_timeout_s,
                connect_timeout_s,
            } => {
                let mut call = MethodCall::new(method).payload(payload.to_string());
                if let Some(seconds) = response_timeout_s {
                    call = call.response_timeout(Duration::from_secs(seconds));
                }
                if let Some(seconds) = connect_timeout_s {
                    call = call.connect_timeout(Duration::from_secs(seconds));
                }
                shown::response(&hub.call_method(identity(&whom)?, call).await?)
            }
            Order::Twin { whom } => shown::twin(&hub.twin(identity(&whom)?).await?),
            Order::PatchDesired { whom, patch } => {
                shown::twin(&hub.patch_desired(identity(&whom)?, patch).await?)
            }
            Order::PatchTags { whom, patch } => shown::twin(&hub.patch_tags(identity(&whom)?, patch).await?),
            Order::Inject {
                fault,
                whom,
                byebye,
                delay_s,
                duration_s,
            } => {
                let mut injected = Fault::new(fault.parse::<FaultKind>()?);
                if let Some(whom) = whom {
                    injected = injected.of(identity(&whom)?);
                }
                if byebye == Some(true) {
                    injected = injected.reason(CloseReason::Byebye);
                }
                if let Some(seconds) = delay_s {
                    injected = injected.delay(Duration::from_secs(seconds));
                }
                if let Some(seconds) = duration_s {
                    injected = injected.duration(Duration::from_secs(seconds));
                }
                hub.inject(injected).await?;
                done()
            }
            Order::TurnClock { by_s } => {
                hub.turn_clock(Duration::from_secs(by_s)).await?;
                done()
            }
            Order::AwaitConnections { count, within_s } => {
                timeout(Duration::from_secs(within_s), let_in(hub, count)).await?;
                done()
            }
            Order::Activity => {
                let happened = hub.activity().snapshot();
                json!({"activity": happened.iter().map(|activity| activity.what.to_string()).collect::<Vec<_>>()})
            }
        })
    }
}

impl Message {
    async fn written(self, hub: &Emulator) -> Result<CloudMessage, Failure> {
        let mut message = CloudMessage::new(self.body);
        if let Some(id) = self.id {
            message = message.id(id);
        }
        if let Some(id) = self.correlation_id {
            message = message.correlation_id(id);
        }
        if let Some(kind) = self.content_type {
            message = message.content_type(kind);
        }
        if let Some(encoding) = self.content_encoding {
            message = message.content_encoding(encoding);
        }
        for (name, value) in self.properties {
            let Value::String(value) = value else {
                return Err("properties are texts".into());
            };
            message = message.property(name, value);
        }
        if let Some(ack) = self.ack {
            message = message.ack(Ack::parse(&ack).ok_or("no such ack")?);
        }
        if let Some(seconds) = self.ttl_s {
            let now = hub.now().await?;
            message = message.expires(now + Duration::from_secs(seconds));
        }
        Ok(message)
    }
}

async fn let_in(hub: &Emulator, count: usize) {
    let mut activity = hub.activity().subscribe_from_start();
    let mut connections = std::collections::BTreeSet::new();
    while connections.len() < count {
        match activity.next().await {
            Some(Notice::Entry(happened)) if matches!(happened.what, What::Authenticated { .. }) => {
                connections.insert(happened.connection);
            }
            Some(_) => {}
            None => return,
        }
    }
}

fn done() -> Value {
    json!({"done": true})
}

fn identity(whom: &str) -> Result<Identity, Failure> {
    Ok(match whom.split_once('/') {
        None => Identity::Device(whom.parse()?),
        Some((device, module)) => Identity::Module(device.parse()?, module.parse()?),
    })
}

/// The next `count` entries of a log, fewer if they do not come in time.
async fn next<T>(
    log: &mut Subscription<T>,
    count: usize,
    within: Duration,
) -> Result<Vec<std::sync::Arc<T>>, Failure>
where
    T: Send + Sync + 'static,
{
    let mut entries = Vec::new();
    // Reading is cancel safe, so that what came in time is kept.
    let reading = async {
        while entries.len() < count {
            match log.next().await {
                Some(Notice::Entry(entry)) => entries.push(entry),
                Some(_) => return Err(Failure::from("entries fell off the log")),
                None => break,
            }
        }
        Ok(())
    };
    match timeout(within, reading).await {
        Ok(read) => read.map(|()| entries),
        Err(_) => Ok(entries),
    }
}
