//! The hub that `--local` starts in this process.

use iothub_address::{AmqpUrl, DeviceId, HubHost, HubName, Identity, Node, Resource, Secret, User};
use iothub_amqp::{DeviceClient, DeviceClientBuilder, Transport};
use iothub_emulator::{Emulator, Event, Notice, Subscription};
use rustls_pki_types::CertificateDer;

use crate::args::Format;
use crate::args::emulator::{DEFAULT_DEVICE, DEFAULT_HUB};
use crate::args::route::Carrier;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::event;
use crate::plan::{secrets, token};

/// A hub with one device, on free ports of this machine.
pub(super) struct LocalHub {
    emulator: Emulator,
    received: Subscription<Event>,
}

impl LocalHub {
    /// Starts it, and says on standard error by which address its device will come.
    pub(super) async fn start(
        transport: Carrier,
        io: &mut Io,
    ) -> Result<(DeviceClientBuilder, Self), Failure> {
        let hub = HubName::parse(DEFAULT_HUB).map_err(|error| broken(&error))?;
        let device = DeviceId::parse(DEFAULT_DEVICE).map_err(|error| broken(&error))?;
        let key = secrets::random_key()?;
        let keys = iothub_emulator::Keys::new(key.clone(), secrets::random_key()?);
        let starting = Emulator::builder()
            .hub(hub.clone())
            .https_port((transport == Carrier::Ws).then_some(0))
            .device(device.clone(), keys)
            .start();
        let emulator = starting.await.map_err(|error| broken(&error))?;

        let identity = Identity::Device(device);
        let cloud = HubHost::parse(&format!("{hub}.azure-devices.net")).map_err(|error| broken(&error))?;
        let resource = Resource::identity(&cloud, &identity);
        let token = token::sign(key, None, &resource, token::now() + token::DEFAULT_TTL);
        let host = HubHost::parse("localhost").map_err(|error| broken(&error))?;
        let url = AmqpUrl::new(host, Node::Events(identity.clone()))
            .with_credentials(User::for_identity(identity, hub), Secret::new(token.expose()))
            .with_port(emulator.amqps_address().port());
        io.note(&format!("address: {url}"));

        let root = CertificateDer::from(emulator.root_certificate_der().to_vec());
        let builder = DeviceClient::at(&url)?.root_certificate(root);
        let builder = match emulator.https_address() {
            Some(https) => builder.transport(Transport::WebSocket).port(https.port()),
            None => builder,
        };
        let received = emulator.journal().subscribe();
        Ok((builder, Self { emulator, received }))
    }

    /// Prints the next event. To be called once for each accepted message: the hub has written it down before it
    /// accepts it, so that this never waits for long.
    pub(super) async fn show_next(&mut self, format: Format, io: &mut Io) -> Result<(), Failure> {
        match self.received.next().await {
            Some(Notice::Entry(received)) => {
                let line = event::line(&received, format);
                io.print(&match format {
                    Format::Text => format!("received  {line}"),
                    Format::Json => line,
                })
            }
            Some(Notice::Missed(count)) => {
                io.note(&format!("warning: {count} events are not shown"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn stop(self) {
        self.emulator.stop().await;
    }
}

fn broken(error: &dyn std::error::Error) -> Failure {
    Failure::unexpected("the local hub did not start").because(error)
}
