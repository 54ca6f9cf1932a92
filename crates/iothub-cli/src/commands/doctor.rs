//! `iothub doctor`: what a device does on its way to a hub, a step at a time.

mod chart;
mod steps;

use iothub_address::Secret;
use iothub_amqp::{
    ConnectError, DeviceClient, Event, EventValue, Events, EventsClient, Message, Phase, Position, Read,
};
use iothub_registry::HTTPS_PORT;
use iothub_sas::{SasToken, UnixTime};

use self::chart::Chart;
use self::steps::Server;
use super::emulator_run::stop::StopSignals;
use crate::args::doctor::Doctor;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::human;
use crate::plan::connecting::{self, Planned};
use crate::plan::service::Service;
use crate::plan::{reading, sending, token};
use tokio::time::timeout;

pub(crate) fn run(mut args: Doctor, io: &mut Io) -> Result<Exit, Failure> {
    let runtime = super::runtime()?;
    let mut chart = Chart::new(args.connect.output, io);
    let context = args.connect.given.context.clone();
    let planned = match connecting::plan(&mut args.connect, ("", false), chart.io()) {
        Ok(planned) => planned,
        Err(failure) => {
            chart.fail("credential", &failure)?;
            return Ok(chart.exit());
        }
    };
    let https_port = planned.settings.https_port(args.https_port, chart.io())?;
    let https_port = https_port.map_or(HTTPS_PORT, |found| found.value.get());
    let other_side = Service::of_surroundings(context, args.connect.timeout.0, &planned, chart.io())?;
    runtime.block_on(async {
        let mut stop = StopSignals::new()?;
        tokio::select! {
            biased;
            () = stop.received() => Err(Failure::interrupted()),
            done = examine(planned, other_side, &args, https_port, &mut chart) => done,
        }
    })?;
    Ok(chart.exit())
}

async fn examine(
    planned: Planned,
    other_side: Option<Service>,
    args: &Doctor,
    https_port: u16,
    chart: &mut Chart<'_>,
) -> Result<(), Failure> {
    let Planned {
        builder,
        place,
        identity,
        token,
        host,
        port,
        transport,
        proxies,
        roots,
        settings: _,
    } = planned;
    let whom = identity.map(|identity| identity.to_string()).unwrap_or_default();
    credential(&whom, &place, token.as_ref(), chart)?;
    let server = Server::new(
        &host,
        port,
        https_port,
        transport,
        &proxies,
        roots,
        args.connect.timeout.0,
    )?;
    let is_reached = server.examine(chart).await?;
    if !is_reached {
        for step in ["sign-in", "link", "message", "seen"] {
            chart.skip(step, "the hub is not reached")?;
        }
        return Ok(());
    }
    let Some(client) = sign_in(builder, chart).await? else {
        return Ok(());
    };
    if args.no_send {
        chart.skip("message", "--no-send")?;
        chart.skip("seen", "--no-send")?;
    } else {
        message(&client, other_side, chart).await?;
    }
    // What is to be seen has been seen.
    let _ = client.close().await;
    Ok(())
}

/// What stands in the credential itself.
fn credential(whom: &str, place: &str, token: Option<&Secret>, chart: &mut Chart<'_>) -> Result<(), Failure> {
    let Some(token) = token else {
        return chart.ok("credential", &format!("{whom}, with what {place} holds"));
    };
    let read = match SasToken::parse(token.expose()) {
        Ok(read) => read,
        Err(error) => {
            let failure = Failure::usage(format!("the token in {place}")).because(&error);
            return chart.fail("credential", &failure.hint("make one with 'iothub sas sign'"));
        }
    };
    let (now, end) = (token::now(), read.expires_at());
    let when = human::time(end.as_secs());
    if end < now {
        let failure = Failure::new(
            Exit::Unauthorised,
            format!("the token in {place} has ended at {when}"),
        );
        return chart.fail(
            "credential",
            &failure.hint("make a new one with 'iothub sas sign'"),
        );
    }
    if end > UnixTime::YEAR_9999 {
        let what = format!("the token in {place} says an end that is no time of seconds: {end}");
        let failure = Failure::new(Exit::Unauthorised, what);
        return chart.fail(
            "credential",
            &failure.hint("'se' counts seconds since 1970, not milliseconds"),
        );
    }
    chart.ok(
        "credential",
        &format!("{whom}, with a token that {place} holds, good until {when}"),
    )
}

/// Signs in, and attaches the link.
async fn sign_in(
    builder: iothub_amqp::DeviceClientBuilder,
    chart: &mut Chart<'_>,
) -> Result<Option<DeviceClient>, Failure> {
    let error = match builder.connect().await {
        Ok(client) => {
            let until = client.token_expires_at().map(|end| human::time(end.as_secs()));
            let until = until.map(|until| format!("by a token that is good until {until}"));
            chart.ok("sign-in", until.as_deref().unwrap_or("the hub lets it in"))?;
            chart.ok("link", "the link for telemetry is attached")?;
            return Ok(Some(client));
        }
        Err(error) => error,
    };
    let of_link = matches!(
        &error,
        ConnectError::RefusedWith { phase, .. } | ConnectError::Lost { phase, .. } | ConnectError::TimedOut { phase, .. }
            if matches!(phase, Phase::Begin | Phase::Attach | Phase::Credit)
    );
    let failure = Failure::from(error);
    if of_link {
        chart.ok("sign-in", "the hub lets it in")?;
        chart.fail("link", &failure)?;
    } else {
        chart.fail("sign-in", &failure)?;
        chart.skip("link", "it is not signed in")?;
    }
    chart.skip("message", "there is no link")?;
    chart.skip("seen", "there is no message")?;
    Ok(None)
}

/// Sends one, and looks for it on the other side where there is a credential for that.
async fn message(
    client: &DeviceClient,
    other_side: Option<Service>,
    chart: &mut Chart<'_>,
) -> Result<(), Failure> {
    let id = sending::random_id()?;
    // Opened before, so that only what comes from now on has to be looked through.
    let looking = match &other_side {
        Some(service) => Some(look(service).await),
        None => None,
    };
    let message = Message::new("iothub doctor")
        .message_id(&id)
        .property("iothub-doctor", "true");
    match client.send(message).await {
        Ok(_) => chart.ok("message", &format!("the hub has accepted message {id}"))?,
        Err(error) => {
            chart.fail("message", &Failure::from(&error))?;
            return chart.skip("seen", "the hub has not accepted it");
        }
    }
    let patience = other_side
        .as_ref()
        .map(|service| service.timeout)
        .unwrap_or_default();
    match looking {
        None => chart.skip("seen", "there is no credential of a service to look with"),
        Some(Err(failure)) => chart.fail("seen", &failure),
        Some(Ok((client, events))) => {
            match timeout(patience, find(events, &id)).await {
                Ok(Some(event)) => chart.ok(
                    "seen",
                    &format!(
                        "it is event {} of partition {}",
                        event.sequence_number, event.partition
                    ),
                )?,
                Ok(None) | Err(_) => {
                    let failure = Failure::new(Exit::TimedOut, "the message does not come out of the hub")
                        .hint("look at the hub's routes: what another route takes does not reach the built-in endpoint");
                    chart.fail("seen", &failure)?;
                }
            }
            // What is to be seen has been seen.
            let _ = client.close().await;
            Ok(())
        }
    }
}

/// All events that come from now on.
async fn look(service: &Service) -> Result<(EventsClient, Events), Failure> {
    let client = reading::of(service)?.connect().await?;
    let events = client.events(Position::Latest).open().await?;
    Ok((client, events))
}

async fn find(mut events: Events, id: &str) -> Option<Box<Event>> {
    while let Some(read) = events.next().await {
        if let Read::Event(event) = read
            && event.system_property("message-id") == Some(&EventValue::Text(id.to_owned()))
        {
            return Some(event);
        }
    }
    None
}
