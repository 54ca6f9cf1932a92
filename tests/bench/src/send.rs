//! One device that sends as fast as it may.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Instant;

use iothub_address::ConnectionString;
use iothub_amqp::{Batching, DeviceClient, Message};
use serde_json::json;

use crate::{Done, ca, process};

pub(crate) fn run(connection: &str, ca_file: &str, count: &str, size: &str, window: &str, how: &str) -> Done {
    let (count, size, window): (usize, usize, usize) = (count.parse()?, size.parse()?, window.parse()?);
    let connection = ConnectionString::parse(connection)?;
    let mut builder = DeviceClient::with(&connection)?;
    builder = match ca(ca_file)? {
        Some(root) => builder.root_certificate(root),
        None => builder.plain_tcp_to_this_machine(),
    };
    builder = match how {
        "single" => builder.window(window),
        // What queues while the transfers before it have no outcome is the next batch.
        "batched" => builder.batching(Batching::On).window(BATCHES),
        _ => return Err("neither single nor batched".into()),
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async { send(builder.connect().await?, count, size, window).await })
}

async fn send(client: DeviceClient, count: usize, size: usize, window: usize) -> Result<(), Box<dyn Error>> {
    let body = vec![b'x'; size];
    let mut flying = VecDeque::with_capacity(window);
    let (started, cpu) = (Instant::now(), process::cpu_time()?);
    for _ in 0..count {
        if flying.len() == window
            && let Some(oldest) = flying.pop_front()
        {
            oldest.await?;
        }
        flying.push_back(client.enqueue(Message::new(body.clone()))?);
    }
    for ticket in flying {
        ticket.await?;
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), process::cpu_time()? - cpu);
    println!(
        "{}",
        json!({"count": count, "seconds": seconds, "cpu_us": cpu.as_secs_f64() * 1e6, "transfers": client.statistics().transfers})
    );
    client.close().await?;
    Ok(())
}

/// How many batches may be on their way: one is made while the other's outcome comes.
const BATCHES: usize = 2;
