//! Scheduled jobs.

use std::time::Duration;

use hyper::header::HeaderName;
use serde_json::{Map, Value};

use super::asked::Asked;
use super::code::Code;
use super::refusal::Refusal;
use super::reply::Reply;
use super::{methods, queries, twins};
use crate::clock::Timestamp;
use crate::hub::{How, Hub, Job, JobError, JobState, JobStatus, Operation, Work, target_of};

/// `JobRequest`. The job is due at its start time, by the hub's clock.
pub(super) async fn put(asked: &Asked<'_>, id: String) -> Result<Reply, Refusal> {
    if id.is_empty() || id.len() > MAX_ID || id.contains(|letter: char| letter.is_control() || letter == '/')
    {
        return Err(Refusal::invalid(format!(
            "A job's id has 1 to {MAX_ID} bytes, no control character and no slash."
        )));
    }
    let object = asked.object()?;
    let (work, given) = work_in(&object)?;
    let condition = match object.get("queryCondition") {
        Some(Value::String(condition)) => condition.clone(),
        None | Some(Value::Null) => return Err(Refusal::invalid("queryCondition is missing.")),
        Some(_) => return Err(Refusal::invalid("queryCondition is no text.")),
    };
    let target = target_of(&condition)?;
    let start = match object.get("startTime") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => Some(
            Timestamp::parse(text).ok_or_else(|| Refusal::invalid("startTime is no time of ISO 8601."))?,
        ),
        Some(_) => return Err(Refusal::invalid("startTime is no text.")),
    };
    let longest = match object.get("maxExecutionTimeInSeconds") {
        None | Some(Value::Null) => DEFAULT_LONGEST,
        Some(seconds) => match seconds.as_u64() {
            Some(seconds @ 1..=MAX_LONGEST) => seconds,
            _ => {
                return Err(Refusal::invalid(format!(
                    "maxExecutionTimeInSeconds is 1 to {MAX_LONGEST}."
                )));
            }
        },
    };
    let document = asked
        .run(Operation::Job, move |hub, now| {
            let job = Job {
                work,
                given,
                condition,
                target,
                created: now,
                start: start.unwrap_or(now),
                longest: Duration::from_secs(longest),
                state: JobState {
                    status: JobStatus::Scheduled,
                    updated: now,
                    ended: None,
                    devices: std::collections::BTreeMap::new(),
                },
            };
            hub.put_job(id.clone(), job, now)?;
            document(hub, &id)
        })
        .await?;
    Ok(Reply::json(&document))
}

pub(super) async fn get(asked: &Asked<'_>, id: String) -> Result<Reply, Refusal> {
    let document = asked
        .run(Operation::Job, move |hub, _| document(hub, &id))
        .await?;
    Ok(Reply::json(&document))
}

pub(super) async fn cancel(asked: &Asked<'_>, id: String) -> Result<Reply, Refusal> {
    let document = asked
        .run(Operation::Job, move |hub, now| {
            hub.cancel_job(&id, now)?;
            document(hub, &id)
        })
        .await?;
    Ok(Reply::json(&document))
}

/// Those of a type and a status, if they are named, by their ids. The size of a page and where it begins are in headers,
/// as Microsoft's Node SDK has them, or in the query.
pub(super) async fn list(asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let wanted = |name: &str| asked.query.get(name).map(str::to_ascii_lowercase);
    let (kind, status) = (wanted("jobType"), wanted("jobStatus"));
    let size = asked
        .header("x-ms-max-item-count")
        .or_else(|| asked.query.get("pageSize"));
    let size = queries::page_size(size, "pageSize")?;
    let after = asked
        .header("x-ms-continuation")
        .or_else(|| asked.query.get("continuationToken"));
    let after = after.filter(|after| !after.is_empty()).map(str::to_owned);
    let (page, more) = asked
        .run(Operation::Job, move |hub, _| {
            let mut jobs = hub
                .jobs()
                .filter(|(_, job)| {
                    kind.as_ref()
                        .is_none_or(|kind| job.work.type_name().eq_ignore_ascii_case(kind))
                })
                .filter(|(_, job)| {
                    status
                        .as_ref()
                        .is_none_or(|status| job.state.status.as_str() == status)
                })
                .skip_while(|(id, _)| after.as_deref().is_some_and(|after| *id <= after));
            let page: Vec<_> = jobs
                .by_ref()
                .take(size)
                .map(|(id, job)| (id.to_owned(), job.to_json(id)))
                .collect();
            Ok::<_, Refusal>((page, jobs.next().is_some()))
        })
        .await?;
    let next = page.last().filter(|_| more).map(|(id, _)| id.clone());
    let documents = page.into_iter().map(|(_, document)| document).collect();
    let reply = Reply::json(&Value::Array(documents))
        .header(HeaderName::from_static("x-ms-item-type"), "jobResponse");
    Ok(match next {
        Some(next) => reply.header(HeaderName::from_static("x-ms-continuation"), &next),
        None => reply,
    })
}

fn document(hub: &Hub, id: &str) -> Result<Value, JobError> {
    Ok(hub.job(id)?.to_json(id))
}

/// What a job does, and that as it was given.
pub(crate) fn work_in(object: &Map<String, Value>) -> Result<(Work, Value), Refusal> {
    let inner = |field: &str| match object.get(field) {
        Some(Value::Object(inner)) => Ok(inner),
        _ => Err(Refusal::invalid(format!("{field} is no JSON object."))),
    };
    let kind = object.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind.eq_ignore_ascii_case("scheduleUpdateTwin") {
        let twin = inner("updateTwin")?;
        let etag = twin.get("etag").and_then(Value::as_str);
        let etag = etag
            .map(|etag| etag.trim_matches('"').to_owned())
            .filter(|etag| !etag.is_empty());
        let change = twins::change_in(twin, How::Merge)?;
        return Ok((Work::UpdateTwin(change, etag), Value::Object(twin.clone())));
    }
    if kind.eq_ignore_ascii_case("scheduleDeviceMethod") {
        let method = inner("cloudToDeviceMethod")?;
        return Ok((
            Work::CallMethod(methods::call_in(method)?),
            Value::Object(method.clone()),
        ));
    }
    Err(Refusal::invalid(
        "type is neither scheduleUpdateTwin nor scheduleDeviceMethod.",
    ))
}

impl From<JobError> for Refusal {
    fn from(error: JobError) -> Self {
        let code = match &error {
            JobError::Exists(_) => Code::JobAlreadyExists,
            JobError::NotFound(_) => Code::JobNotFound,
            JobError::Ended(_) => Code::JobRunPreconditionFailed,
            JobError::TooMany(_) => Code::JobQuotaExceeded,
            JobError::TooManyActive(_) => Code::TooManyActiveJobs,
        };
        Self::of(code, &error)
    }
}

/// The longest id, in bytes.
const MAX_ID: usize = 128;
/// As Microsoft's SDKs have it.
const DEFAULT_LONGEST: u64 = 3600;
/// A week.
const MAX_LONGEST: u64 = 7 * 24 * 3600;
