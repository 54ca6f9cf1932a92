//! A hub with many devices.

use std::fs;

use iothub_address::DeviceId;
use iothub_emulator::Emulator;
use iothub_sas::SharedKey;
use serde_json::json;

use crate::{Done, KEY, device_name, process};

pub(crate) fn run(devices: &str, ca_file: &str) -> Done {
    let devices: usize = devices.parse()?;
    // As the command line program has it.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut builder = Emulator::builder();
        for number in 0..devices {
            builder = builder.device_key(
                DeviceId::parse(&device_name(number))?,
                SharedKey::from_bytes(&KEY)?,
            );
        }
        let emulator = builder.amqp_port(0).start().await?;
        fs::write(ca_file, emulator.root_certificate_pem())?;
        println!(
            "{}",
            json!({"port": emulator.amqps_address().port(), "amqp_port": emulator.amqp_address().map(|address| address.port()), "resident_kib": process::resident_kib()?})
        );
        tokio::task::spawn_blocking(process::next_line).await??;
        emulator.stop().await;
        Ok(())
    })
}
