//! A hub with a state directory in a process of its own, to be killed. It does what it is told on standard input, a JSON
//! object a line, and says on standard output when that is done: `tests/src/kill/hub.rs` is the other end.
#![forbid(unsafe_code)]

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use iothub_address::Identity;
use iothub_emulator::{Ack, Body, CloudMessage, CloudToDevice, Emulator, Keys, LogLimits, Notice};
use iothub_sas::SharedKey;
use serde_json::{Value, json};
use tokio::runtime::Handle;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let (lines, printed) = channel();
    std::thread::spawn(move || print(&printed));
    match run(&lines) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = lines.send(json!({"failed": error.to_string()}));
            ExitCode::FAILURE
        }
    }
}

/// Line by line, each whole and at once.
fn print(lines: &Receiver<Value>) {
    let mut stdout = std::io::stdout().lock();
    for line in lines {
        if writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err() {
            return;
        }
    }
}

fn run(lines: &Sender<Value>) -> Result<(), Failed> {
    let directory = std::env::args_os().nth(1).ok_or("a directory, please")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let hub = runtime.block_on(
        Emulator::builder()
            .hub("tcontehub".parse()?)
            .amqp_port(0)
            .https_port(None)
            .state_dir(directory)
            .journal_limits(LogLimits::new(usize::MAX, usize::MAX))
            .cloud_to_device(CloudToDevice::default().max_delivery_count(100))
            .start(),
    )?;
    let hub = Arc::new(hub);
    let fates: Vec<Value> = hub
        .feedback()
        .snapshot()
        .iter()
        .map(|told| json!([told.original_message_id, told.fate.as_str()]))
        .collect();
    lines.send(json!({
        "amqp_port": hub.amqp_address().map(|address| address.port()),
        "fates": fates,
        "events": events(&hub),
    }))?;
    runtime.spawn(tell_fates(Arc::clone(&hub), lines.clone()));
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        let (hub, lines) = (Arc::clone(&hub), lines.clone());
        serve(runtime.handle(), hub, asked, lines);
    }
    Ok(())
}

/// All events: partition, sequence number, body.
fn events(hub: &Emulator) -> Vec<Value> {
    let text = |body: &Body| match body {
        Body::Data(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    };
    hub.journal()
        .snapshot()
        .iter()
        .map(|event| json!([event.partition, event.sequence_number, text(&event.message.body)]))
        .collect()
}

async fn tell_fates(hub: Arc<Emulator>, lines: Sender<Value>) {
    let mut feedback = hub.feedback().subscribe_from_this_run();
    while let Some(notice) = feedback.next().await {
        if let Notice::Entry(told) = notice {
            let _ = lines.send(json!({"fate": [told.original_message_id, told.fate.as_str()]}));
        }
    }
}

fn serve(runtime: &Handle, hub: Arc<Emulator>, asked: Value, lines: Sender<Value>) {
    runtime.spawn(async move {
        let answer = match do_it(&hub, &asked).await {
            Ok(done) => json!({"id": asked["id"], "done": done}),
            Err(error) => json!({"id": asked["id"], "refused": error.to_string()}),
        };
        let _ = lines.send(answer);
    });
}

async fn do_it(hub: &Emulator, asked: &Value) -> Result<Value, Failed> {
    let identity: Identity = asked["identity"].as_str().ok_or("no identity")?.parse()?;
    match asked["do"].as_str().unwrap_or_default() {
        "register" => {
            let key = |byte| SharedKey::from_bytes(&[byte; 32]);
            let keys = Keys::new(key(1)?, key(2)?);
            match identity {
                Identity::Device(device) => hub.register_device(device, keys).await?,
                Identity::Module(device, module) => hub.register_module(device, module, keys).await?,
            }
            Ok(Value::Null)
        }
        "remove" => {
            hub.remove(&identity).await?;
            Ok(Value::Null)
        }
        "is registered" => Ok(hub.connection_string(&identity).await.is_ok().into()),
        "send" => {
            let id = asked["message"].as_str().ok_or("no message")?;
            let message = CloudMessage::new(id.to_owned()).id(id).ack(Ack::Full);
            hub.send_to_device(identity, message).await?;
            Ok(Value::Null)
        }
        "waiting" => Ok(hub.waiting_messages(identity).await?.into()),
        "desired" => Ok(hub
            .patch_desired(identity, asked["patch"].clone())
            .await?
            .to_json()),
        "tags" => Ok(hub.patch_tags(identity, asked["patch"].clone()).await?.to_json()),
        "twin" => Ok(hub.twin(identity).await?.to_json()),
        other => Err(format!("there is no {other:?}").into()),
    }
}
