//! Who is on a connection: a device or module, whose telemetry link says that it is there; or a service, which has the
//! links that it asks for, and no other.

use std::time::Instant;

use crate::error::Interruption;
use crate::recovery::{REDIRECT, STOLEN};

use super::core::Core;
use super::lane::LaneState;
use super::slot::{Access, Slot};

/// What a slot is the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal {
    /// A hub calls a device offline that has no telemetry link: it is attached first, and always wanted.
    Device,
    /// It is there as soon as its token holds.
    Service,
}

impl Slot {
    pub(super) fn is_service(&self) -> bool {
        self.settings.principal == Principal::Service
    }

    /// What comes after the first link, if there is to be a first, may be attached.
    pub(super) fn is_there(&self) -> bool {
        match self.settings.principal {
            Principal::Device => self.telemetry.lane.is_up(),
            Principal::Service => self.access == Access::Granted,
        }
    }

    /// Links may be attached from now on.
    pub(super) fn granted(&mut self, core: &mut Core, now: Instant) {
        self.access = Access::Granted;
        self.telemetry.renewed(now);
        if self.is_service() {
            core.backoff.connected(now);
            self.ever_up = true;
            self.report_connected(core);
        }
        for lane in self.lanes_mut() {
            lane.state = LaneState::Down { until: now };
        }
    }

    /// There is something to be sent, for the first time.
    pub(super) fn want_telemetry(&mut self, now: Instant) {
        if !self.telemetry.wanted {
            self.telemetry.wanted = true;
            if self.access == Access::Granted {
                self.telemetry.lane.state = LaneState::Down { until: now };
            }
        }
    }

    /// Nothing can be sent; but what a service receives it still does.
    pub(super) fn refuse_sending(&mut self, core: &mut Core, why: &Interruption) {
        self.telemetry.wanted = false;
        self.fail_all(core, why);
    }

    /// What is the last word to a service, and not to a device: whoever took a link from it reads in its place, and where
    /// it is sent instead it has to be told.
    pub(super) fn is_last_word(&self, why: &Interruption) -> bool {
        let Interruption::Refused(condition) = why else {
            return false;
        };
        self.is_service() && [STOLEN, REDIRECT].contains(&condition.name.as_str())
    }
}
