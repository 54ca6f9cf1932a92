//! Who is sent away when the registry changes.

use iothub_address::{DeviceId, Identity};

use super::Hub;
use super::agenda::Due;
use super::authentication::Principal;
use super::command::Effect;
use super::record::Part;
use super::refusal::{Condition, code};
use super::registry::{RegistryError, Status};
use crate::clock::Timestamp;

impl Hub {
    /// Removes the identity; who is connected as it is sent away.
    pub(crate) fn remove(&mut self, identity: &Identity, now: Timestamp) -> Result<(), RegistryError> {
        let modules = self.registry.modules(identity.device());
        self.registry.remove(identity)?;
        let gone = match identity {
            Identity::Device(_) => modules,
            Identity::Module(..) => Vec::new(),
        };
        for identity in gone.iter().chain([identity]) {
            self.changes.touch(|| Part::Identity(identity.clone()));
            self.drop_mailbox(identity);
            self.drop_twin(identity);
            self.presences.remove(identity);
            self.twin_is_stale(identity);
        }
        self.send_away(&REMOVED, now);
        Ok(())
    }

    /// Enables or disables the device with its modules; who is connected as a disabled one is sent away.
    pub(crate) fn set_status(
        &mut self,
        device: &DeviceId,
        status: Status,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        self.registry.set_status(device, status, now)?;
        self.changes
            .touch(|| Part::Identity(Identity::Device(device.clone())));
        self.twin_is_stale(&Identity::Device(device.clone()));
        self.send_away(&DISABLED, now);
        Ok(())
    }

    /// After an identity was changed: who is connected as a disabled one is sent away.
    pub(super) fn send_disabled_away(&mut self, now: Timestamp) {
        self.send_away(&DISABLED, now);
    }

    /// After a change of the registry: closes the connections that came in by PLAIN as someone who may not be
    /// connected any more; of other connections, ends the links of such.
    fn send_away(&mut self, cause: &Cause, now: Timestamp) {
        for (connection, known) in &mut self.connections {
            known.drop_disabled(&self.registry);
            let end = known.first_end().map(|end| end + self.token_grace);
            self.agenda.set(Due::Tokens(*connection), end);
            let text = |identity: &Identity| format!("Device {identity} {}.", cause.what);
            if let Some(Principal::Identity { identity, .. }) = known.plain().map(|held| &held.principal)
                && !self.registry.is_enabled(identity)
            {
                let refused =
                    self.refusals
                        .refuse(Condition::ConnectionForced, cause.code, text(identity), now);
                self.effects.push_back(Effect::Close(*connection, refused));
                continue;
            }
            for (link, grant) in known.links() {
                if let Some(identity) = grant.identity()
                    && !self.registry.is_enabled(identity)
                {
                    let refused = self
                        .refusals
                        .refuse(cause.condition, cause.code, text(identity), now);
                    self.effects.push_back(Effect::Detach(link, refused));
                }
            }
        }
    }
}

/// Why an identity may not be connected any more.
struct Cause {
    /// Of a link's detach.
    condition: Condition,
    code: u32,
    what: &'static str,
}

const REMOVED: Cause = Cause {
    condition: Condition::NotFound,
    code: code::DEVICE_NOT_FOUND,
    what: "was removed",
};
const DISABLED: Cause = Cause {
    condition: Condition::UnauthorizedAccess,
    code: code::DEVICE_DISABLED,
    what: "is disabled",
};
