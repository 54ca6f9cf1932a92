//! Queries over what the hub has.

use iothub_address::Identity;
use serde_json::Value;

use super::Hub;
use crate::query::{Collection, Page, Pager, Query, Target, holds};

impl Hub {
    /// A page of a query's rows.
    pub(crate) fn query(&self, query: &Query, pager: &Pager<'_>) -> Page {
        match query.from {
            Collection::Devices | Collection::Modules => {
                pager.page(self.twin_documents(query.from, pager.after()))
            }
            Collection::Jobs => pager.page(self.job_documents(pager.after())),
        }
    }

    /// Those whom a target is for.
    pub(super) fn targets(&self, target: &Target) -> Vec<Identity> {
        let is_for = |identity: &Identity| {
            let condition = target.condition.as_ref();
            condition.is_none_or(|condition| {
                let known = self.known(identity);
                known.is_ok_and(|known| holds(condition, &self.twin_document(&known)))
            })
        };
        self.identities_in(target.from)
            .filter(|identity| is_for(identity))
            .collect()
    }

    /// Twins by the text of their identity, in the registry's order, from behind one of them.
    fn twin_documents(&self, from: Collection, after: Option<&str>) -> impl Iterator<Item = (String, Value)> {
        let after: Option<Identity> = after.and_then(|after| after.parse().ok());
        self.identities_in(from)
            .skip_while(move |identity| after.as_ref().is_some_and(|after| identity <= after))
            .filter_map(|identity| {
                let known = self.known(&identity).ok()?;
                Some((identity.to_string(), self.twin_document(&known)))
            })
    }

    fn identities_in(&self, from: Collection) -> impl Iterator<Item = Identity> {
        let identities = self.registry.entries().map(|(identity, _)| identity);
        identities.filter(move |identity| identity.module().is_some() == (from == Collection::Modules))
    }
}
