//! A device: it sends a message, and reads its twin.
#![allow(clippy::print_stdout, reason = "what it prints is for people")]

use std::env::var;

use iothub_address::ConnectionString;
use iothub_amqp::{DeviceClient, Message};
use rustls_pki_types::{CertificateDer, pem::PemObject};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let string = ConnectionString::parse(&var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;
    let ca = CertificateDer::from_pem_file(var("IOTHUB_CA_FILE")?)?;
    let client = DeviceClient::with(&string)?
        .root_certificate(ca)
        .connect()
        .await?;

    client.send(Message::new("Hello from Rust")).await?; // returns when the hub has it
    let twin = client.twin().get().await?;
    println!("desired: {}", serde_json::Value::from(twin.desired.values));
    client.close().await?;
    Ok(())
}
