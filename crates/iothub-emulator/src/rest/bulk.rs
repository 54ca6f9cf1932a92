//! Many identities in one request, each done or refused by itself.

use serde_json::{Value, json};

use super::asked::Asked;
use super::code::Code;
use super::refusal::{Refusal, Shape};
use super::reply::Reply;
use crate::clock::Timestamp;
use crate::hub::{Hub, ImportError, Operation};
use crate::identity_form;

/// A list of `ExportImportDevice`. What is refused does not undo what was done.
pub(super) async fn import(asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let Value::Array(list) = asked.json()? else {
        return Err(Refusal::new(Code::IotHubFormatError, "The body is no list."));
    };
    if list.is_empty() || list.len() > MAX_AT_ONCE {
        return Err(Refusal::invalid(format!(
            "A list has 1 to {MAX_AT_ONCE} devices."
        )));
    }
    let errors = asked
        .run(Operation::Registry, move |hub, now| {
            let refused = list.iter().filter_map(|one| {
                let refusal = import_one(hub, one, now).err()?;
                Some(json!({
                    "deviceId": one["id"],
                    "moduleId": one["moduleId"],
                    "errorCode": refusal.code.number(),
                    "errorStatus": refusal.message,
                }))
            });
            Ok::<_, Refusal>(refused.collect::<Vec<_>>())
        })
        .await?;
    let body = json!({ "isSuccessful": errors.is_empty(), "errors": errors, "warnings": [] });
    if errors.is_empty() {
        return Ok(Reply::json(&body));
    }
    Err(Refusal::new(Code::BulkRegistryOperationFailure, "").shaped(Shape::Own(Box::new(body))))
}

fn import_one(hub: &mut Hub, one: &Value, now: Timestamp) -> Result<(), Refusal> {
    let Value::Object(object) = one else {
        return Err(Refusal::new(Code::IotHubFormatError, "It is no JSON object."));
    };
    let (import, shown) = identity_form::read(object)?;
    let authentication = shown.over(hub.authentication(&import.identity))?;
    Ok(hub.import(import, authentication, now)?)
}

impl From<ImportError> for Refusal {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Registry(error) => error.into(),
            ImportError::Twin(field, error) => {
                let mut refusal = Self::from(error);
                refusal.message = format!("{field}: {}", refusal.message);
                refusal
            }
            ImportError::Etag(_) | ImportError::TwinEtag(_) => {
                Self::new(Code::PreconditionFailed, "It has been changed by another.")
            }
        }
    }
}

/// The most devices of one request (the REST API's reference: 100).
const MAX_AT_ONCE: usize = 100;
