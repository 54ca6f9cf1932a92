//! `iothub registry keys …`

use iothub_address::{Identity, Secret};
use iothub_registry::{Authentication, IfMatch, Registry, SymmetricKey};
use iothub_sas::SharedKey;
use serde_json::json;

use super::asking::{ask, failed};
use crate::args::registry::{Keys, Which};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::{identity, rows};
use crate::plan::rest::Hub;

enum Work {
    Show,
    Renew(Which),
    Swap,
}

pub(super) fn run(command: Keys, io: &mut Io) -> Result<Exit, Failure> {
    let (whose, work) = match command {
        Keys::Show(whose) => (whose, Work::Show),
        Keys::Renew(args) => (args.whose, Work::Renew(args.key)),
        Keys::Swap(whose) => (whose, Work::Swap),
    };
    let identity = whose.identity();
    let hub = Hub::of(whose.rest, ("", false), io)?;
    let (host, port, output) = (hub.host.clone(), hub.port, hub.output);
    let whose = identity;
    ask(hub, async |registry| {
        let keys = worked(&registry, &whose, &work).await?;
        let text = |key: &Option<Secret>| key.as_ref().map(|key| key.expose().to_owned());
        let (primary, secondary) = (text(&keys.primary), text(&keys.secondary));
        let string = identity::connection_string(&host, port, &whose, &Authentication::Sas(keys));
        let shown = identity::object(json!({
            "device": whose.device().as_str(),
            "module": whose.module().map(|module| module.as_str()),
            "primary_key": primary,
            "secondary_key": secondary,
            "connection_string": string,
        }));
        rows::print_one(&shown, output, io)?;
        Ok(Exit::Done)
    })
}

/// The keys as they are then. A change is made of the state that was read: another's in between is not lost.
async fn worked(registry: &Registry, whose: &Identity, work: &Work) -> Result<SymmetricKey, Failure> {
    let authentication = match whose {
        Identity::Module(id, module) => {
            let mut module = failed(registry.module(id, module).await)?;
            if change(&mut module.authentication, whose, work)? {
                module = failed(
                    registry
                        .update_module(&module, &IfMatch::etag(&module.etag))
                        .await,
                )?;
            }
            module.authentication
        }
        of_device => {
            let mut device = failed(registry.device(of_device.device()).await)?;
            if change(&mut device.authentication, whose, work)? {
                device = failed(
                    registry
                        .update_device(&device, &IfMatch::etag(&device.etag))
                        .await,
                )?;
            }
            device.authentication
        }
    };
    match authentication {
        Authentication::Sas(keys) => Ok(keys),
        _ => Err(no_keys(whose)),
    }
}

/// Whether it is to be written.
fn change(authentication: &mut Authentication, whose: &Identity, work: &Work) -> Result<bool, Failure> {
    let Authentication::Sas(keys) = authentication else {
        return Err(no_keys(whose));
    };
    match work {
        Work::Show => return Ok(false),
        Work::Swap => std::mem::swap(&mut keys.primary, &mut keys.secondary),
        Work::Renew(which) => {
            if *which != Which::Secondary {
                keys.primary = Some(fresh()?);
            }
            if *which != Which::Primary {
                keys.secondary = Some(fresh()?);
            }
        }
    }
    Ok(true)
}

fn no_keys(whose: &Identity) -> Failure {
    Failure::usage(format!(
        "{} has no keys: it proves who it is in another way",
        whose.device()
    ))
}

/// A key of the system's randomness.
pub(super) fn fresh() -> Result<Secret, Failure> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::unexpected("the system gives no randomness").because(&error))?;
    let key = SharedKey::generate_from(random);
    Ok(Secret::new(key.to_base64().expose()))
}
