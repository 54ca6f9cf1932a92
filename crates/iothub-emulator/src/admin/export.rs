//! `/admin/export`: all identities and twins, in the service's own form of export.

use serde_json::Value;

use super::{Refusal, Reply};
use crate::hub::ExportKeys;
use crate::owner::HubHandle;

/// A list of what are the lines of a file elsewhere; keys are null in it with `?keys=excluded`.
pub(super) async fn all(hub: &HubHandle, query: Option<&str>) -> Result<Reply, Refusal> {
    let keys = match query {
        None => ExportKeys::Included,
        Some("keys=excluded") => ExportKeys::Excluded,
        Some(_) => return Err(Refusal::Value("the query is keys=excluded, or there is none")),
    };
    let lines = hub.run(move |hub, _| hub.export(keys)).await?;
    Ok(Reply::json(&Value::Array(lines)))
}
