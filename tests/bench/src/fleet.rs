//! Many devices in one process: how long they take to connect, and what memory each takes.

use std::error::Error;
use std::time::Instant;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use iothub_address::{DeviceId, HubHost, Identity};
use iothub_amqp::{Connection, ConnectionBuilder, DeviceClient, Key, Message, Pool};
use iothub_sas::SharedKey;
use rustls_pki_types::CertificateDer;
use serde_json::json;

use crate::{Done, KEY, ca, device_name, process};

pub(crate) fn run(port: &str, ca_file: &str, devices: &str, how: &str) -> Done {
    let way = Way {
        port: port.parse()?,
        root: ca(ca_file)?.ok_or("a fleet connects by TLS")?,
    };
    let (devices, how) = (devices.parse()?, how.to_owned());
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(serve(way, devices, &how))
}

async fn serve(way: Way, devices: usize, how: &str) -> Result<(), Box<dyn Error>> {
    let (started, before) = (Instant::now(), process::resident_kib()?);
    let clients = connect(&way, devices, how).await?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({"devices": clients.len(), "seconds": seconds, "resident_kib": process::resident_kib()? - before})
    );
    tokio::task::spawn_blocking(process::next_line).await??;

    let started = Instant::now();
    let sent = stream::iter(&clients)
        .map(|client| client.send(Message::new("Hello World!")))
        .buffer_unordered(devices)
        .try_collect::<Vec<_>>()
        .await?;
    println!(
        "{}",
        json!({"accepted": sent.len(), "seconds": started.elapsed().as_secs_f64()})
    );
    tokio::task::spawn_blocking(process::next_line).await??;
    Ok(())
}

async fn connect(way: &Way, devices: usize, how: &str) -> Result<Vec<DeviceClient>, Box<dyn Error>> {
    let pool = match how {
        "connection" => Pool::open(way.connection()?, 1).await?,
        "pool" => Pool::open(way.connection()?, Pool::connections_for(devices)).await?,
        "separate" => {
            let connecting = (0..devices).map(|number| way.separate(number));
            return stream::iter(connecting)
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await;
        }
        _ => return Err("neither connection, pool nor separate".into()),
    };
    let key = Key::new(SharedKey::from_bytes(&KEY)?);
    let mut joining = Vec::with_capacity(devices);
    for number in 0..devices {
        joining.push(pool.device(identity(number)?, key.clone()).connect());
    }
    let connected = stream::iter(joining)
        .buffer_unordered(devices)
        .try_collect()
        .await?;
    Ok(connected)
}

struct Way {
    port: u16,
    root: CertificateDer<'static>,
}

impl Way {
    fn connection(&self) -> Result<ConnectionBuilder, Box<dyn Error>> {
        Ok(Connection::builder(HubHost::parse(HOST)?)
            .port(self.port)
            .root_certificate(self.root.clone()))
    }

    async fn separate(&self, number: usize) -> Result<DeviceClient, Box<dyn Error>> {
        let key = Key::new(SharedKey::from_bytes(&KEY)?);
        let builder = DeviceClient::builder(HubHost::parse(HOST)?, identity(number)?, key)
            .claims_based()
            .port(self.port)
            .root_certificate(self.root.clone());
        Ok(builder.connect().await?)
    }
}

fn identity(number: usize) -> Result<Identity, Box<dyn Error>> {
    Ok(Identity::Device(DeviceId::parse(&device_name(number))?))
}

const HOST: &str = "localhost";

/// How many connections are made at once.
const AT_ONCE: usize = 64;
