//! What goes on while the hub is killed: devices over AMQP, and a service.

use std::sync::Arc;
use std::time::Duration;

use iothub_address::{HubHost, HubName, Identity};
use iothub_amqp::{DeviceClient, Key, Message, Recover};
use iothub_sas::SharedKey;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::hub::Service;
use super::truth::Truth;
use crate::sim::dice::Dice;

/// Who is there: two devices and a module.
pub(super) const IDENTITIES: [&str; 3] = ["one", "two", "two/modules/m"];

/// Connects to the hub on this machine.
pub(super) async fn connect(identity: &str, port: u16) -> Option<DeviceClient> {
    let identity: Identity = identity.parse().expect("it is one");
    let key = SharedKey::from_bytes(&[1; 32]).expect("it is long enough");
    let host = HubHost::parse("localhost").expect("it is a host");
    DeviceClient::builder(host, identity, Key::new(key))
        .hub(HubName::parse("tcontehub").expect("it is a name"))
        .claims_based()
        .port(port)
        .plain_tcp_to_this_machine()
        .recovery(Recover::Never)
        .operation_timeout(PATIENCE)
        .connect()
        .await
        .ok()
}

/// Sends, receives and reports as a device, until the hub is gone.
pub(super) async fn device(identity: &'static str, port: u16, truth: Arc<Truth>, dice: Dice) {
    let Some(client) = connect(identity, port).await else {
        return;
    };
    tokio::join!(
        telemetry(identity, &client, &truth),
        reported(identity, &client, &truth),
        commands(identity, &client, &truth, dice),
    );
}

async fn telemetry(identity: &str, client: &DeviceClient, truth: &Truth) {
    loop {
        let body = format!("{identity} {}", truth.number());
        truth.lock().events_tried.insert(body.clone());
        if client.send(Message::new(body.clone())).await.is_err() {
            return;
        }
        truth.lock().events.insert(body);
    }
}

async fn reported(identity: &str, client: &DeviceClient, truth: &Truth) {
    let twin = client.twin();
    loop {
        let number = truth.write(identity, "reported");
        let Ok(version) = twin.report(&json!({"n": number})).await else {
            return;
        };
        let version = version.and_then(|version| u64::try_from(version).ok());
        truth.written(identity, "reported", number, version.unwrap_or(0));
    }
}

/// Completes most messages, and leaves the others locked, to be killed with the hub.
async fn commands(identity: &str, client: &DeviceClient, truth: &Truth, mut dice: Dice) {
    let Ok(mut commands) = client.commands().await else {
        return;
    };
    let mut held = Vec::new();
    while let Some(command) = commands.next().await {
        let id = command.message().message_id.clone().unwrap_or_default();
        truth.delivered(&id, identity);
        let settled = match dice.below(20) {
            0 => command.reject().await,
            1 | 2 => command.abandon().await,
            3 => {
                held.push(command);
                Ok(())
            }
            _ => command.complete().await,
        };
        if settled.is_err() {
            return;
        }
    }
}

/// Completes all that waits, until nothing does.
pub(super) async fn drain(identity: &str, port: u16, service: &Service, truth: &Truth) {
    let client = connect(identity, port).await.expect("the hub is ready");
    let mut commands = client.commands().await.expect("the hub is ready");
    while waiting(identity, service).await > 0 {
        let next = tokio::time::timeout(PATIENCE, commands.next()).await;
        let command = next.expect("what waits comes").expect("the hub is there");
        let id = command.message().message_id.clone().unwrap_or_default();
        truth.delivered(&id, identity);
        command.complete().await.expect("the hub is there");
        // The hub says what it did by its feedback.
        while !truth.lock().fates.contains_key(&id) {
            waiting(identity, service).await;
        }
    }
}

pub(super) async fn waiting(identity: &str, service: &Service) -> u64 {
    let asked = service.ask("waiting", identity, Value::Null).await;
    let answer = asked.expect("the hub is there").expect("it is registered");
    answer.as_u64().expect("a number")
}

/// Sends messages to devices, registers and removes others, and writes to twins, until the hub is gone.
pub(super) fn service(service: &Service, truth: &Arc<Truth>, dice: &mut Dice, load: &mut JoinSet<()>) {
    load.spawn(send(service.clone(), Arc::clone(truth), Dice::new(dice.throw())));
    load.spawn(register(service.clone(), Arc::clone(truth)));
    for identity in IDENTITIES {
        for section in ["desired", "tags"] {
            load.spawn(patch(identity, section, service.clone(), Arc::clone(truth)));
        }
    }
}

async fn send(service: Service, truth: Arc<Truth>, mut dice: Dice) {
    loop {
        let identity = dice.pick(&IDENTITIES);
        let id = format!("m{}", truth.number());
        truth
            .lock()
            .messages_tried
            .insert(id.clone(), identity.to_owned());
        match service.ask("send", identity, json!({"message": id})).await {
            Some(Ok(_)) => {
                truth.lock().messages.insert(id);
            }
            // The mailbox is full.
            Some(Err(_)) => {
                truth.lock().messages_tried.remove(&id);
            }
            None => return,
        }
    }
}

async fn register(service: Service, truth: Arc<Truth>) {
    loop {
        let device = format!("new{}", truth.number());
        let module = format!("{device}/modules/m");
        let steps = [(&device, "register"), (&module, "register"), (&module, "remove")];
        for (identity, what) in steps {
            truth.lock().identities.insert(identity.clone(), None);
            match service.ask(what, identity, Value::Null).await {
                Some(done) => {
                    done.expect("nobody else does it");
                    let is_registered = Some(what == "register");
                    truth.lock().identities.insert(identity.clone(), is_registered);
                }
                None => return,
            }
        }
    }
}

async fn patch(identity: &'static str, section: &'static str, service: Service, truth: Arc<Truth>) {
    loop {
        let number = truth.write(identity, section);
        let patch = json!({"patch": {"n": number}});
        let Some(patched) = service.ask(section, identity, patch).await else {
            return;
        };
        let twin = patched.expect("a number may stand in a twin");
        let version = twin["properties"][section]["$version"].as_u64();
        truth.written(identity, section, number, version.unwrap_or(0));
    }
}

/// Long enough for a machine under load.
const PATIENCE: Duration = Duration::from_secs(60);
