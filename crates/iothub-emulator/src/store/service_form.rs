//! How what a back end has the hub do is written: configurations and scheduled jobs, as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fault::Fault;
use crate::clock::Timestamp;
use crate::hub::{Call, Configuration, ConfigurationForm, How, Job, JobState, TwinChange, Work, target_of};

#[derive(Serialize, Deserialize)]
struct StoredConfiguration {
    form: ConfigurationForm,
    etag: u64,
    created: Timestamp,
    updated: Timestamp,
    applied: BTreeMap<String, u64>,
}

pub(super) fn write_configuration(configuration: &Configuration) -> Result<Vec<u8>, Fault> {
    let Configuration {
        form,
        target: _,
        etag,
        created,
        updated,
        applied,
    } = configuration.clone();
    json(&StoredConfiguration {
        form,
        etag,
        created,
        updated,
        applied,
    })
}

pub(super) fn read_configuration(bytes: &[u8]) -> Result<Configuration, Fault> {
    let stored: StoredConfiguration = serde_json::from_slice(bytes).map_err(Fault::damaged)?;
    Ok(Configuration {
        target: target_of(&stored.form.condition).map_err(Fault::damaged)?,
        form: stored.form,
        etag: stored.etag,
        created: stored.created,
        updated: stored.updated,
        applied: stored.applied,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredJob {
    work: StoredWork,
    given: Value,
    condition: String,
    created: Timestamp,
    start: Timestamp,
    longest_ms: u64,
    state: JobState,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum StoredWork {
    UpdateTwin {
        tags: Option<Map<String, Value>>,
        desired: Option<Map<String, Value>>,
        etag: Option<String>,
    },
    CallMethod {
        method: String,
        payload: Value,
        response_ms: u64,
        connect_ms: u64,
    },
}

pub(super) fn write_job(job: &Job) -> Result<Vec<u8>, Fault> {
    let work = match job.work.clone() {
        Work::UpdateTwin(change, etag) => StoredWork::UpdateTwin {
            tags: change.tags,
            desired: change.desired,
            etag,
        },
        Work::CallMethod(call) => StoredWork::CallMethod {
            payload: serde_json::from_slice(&call.payload).map_err(Fault::damaged)?,
            response_ms: millis(call.response_timeout),
            connect_ms: millis(call.connect_timeout),
            method: call.method,
        },
    };
    json(&StoredJob {
        work,
        given: job.given.clone(),
        condition: job.condition.clone(),
        created: job.created,
        start: job.start,
        longest_ms: millis(job.longest),
        state: job.state.clone(),
    })
}

pub(super) fn read_job(bytes: &[u8]) -> Result<Job, Fault> {
    let stored: StoredJob = serde_json::from_slice(bytes).map_err(Fault::damaged)?;
    let work = match stored.work {
        StoredWork::UpdateTwin { tags, desired, etag } => {
            let how = How::Merge;
            Work::UpdateTwin(TwinChange { how, tags, desired }, etag)
        }
        StoredWork::CallMethod {
            method,
            payload,
            response_ms,
            connect_ms,
        } => Work::CallMethod(Call {
            method,
            payload: payload.to_string().into(),
            response_timeout: Duration::from_millis(response_ms),
            connect_timeout: Duration::from_millis(connect_ms),
        }),
    };
    Ok(Job {
        work,
        given: stored.given,
        target: target_of(&stored.condition).map_err(Fault::damaged)?,
        condition: stored.condition,
        created: stored.created,
        start: stored.start,
        longest: Duration::from_millis(stored.longest_ms),
        state: stored.state,
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(value).map_err(Fault::damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by hand: what an earlier program wrote must be read, and what is written must be what it reads.
    const CONFIGURATIONS: [&str; 2] = [
        r#"{"form":{"schemaVersion":"1.0","labels":{"App":"y"},"content":{"device":{"properties.desired.x":1},"module":null,"modules":null},"condition":"tags.a = 1","priority":-3,"metrics":{"all":"SELECT * FROM devices"}},"etag":2,"created":1700000000000,"updated":1700000001000,"applied":{"d":2}}"#,
        r#"{"form":{"schemaVersion":"1.0","labels":{},"content":{"device":null,"module":null,"modules":{"m":{"properties.desired":{}}}},"condition":"","priority":0,"metrics":{}},"etag":1,"created":1700000000000,"updated":1700000000000,"applied":{}}"#,
    ];
    const JOBS: [&str; 2] = [
        r#"{"work":{"type":"updateTwin","tags":{"x":1},"desired":null,"etag":"*"},"given":{"tags":{"x":1},"etag":"*"},"condition":"*","created":1700000000000,"start":1700003600000,"longestMs":3600000,"state":{"status":"scheduled","updated":1700000000000,"ended":null,"devices":{}}}"#,
        r#"{"work":{"type":"callMethod","method":"m","payload":{"n":1},"responseMs":30000,"connectMs":0},"given":{"methodName":"m"},"condition":"FROM devices.modules","created":1700000000000,"start":1700000000000,"longestMs":60000,"state":{"status":"completed","updated":1700000002000,"ended":1700000002000,"devices":{"d/modules/m":{"status":"completed","started":1700000001000,"updated":1700000002000,"outcome":[200,null],"error":null},"e/modules/m":{"status":"failed","started":1700000001000,"updated":1700000002000,"outcome":null,"error":["DeviceNotOnline","not there"]}}}}"#,
    ];

    #[test]
    fn what_a_back_end_has_the_hub_do_is_read_and_written_the_same() {
        let text = |written: Result<Vec<u8>, Fault>| String::from_utf8(written.unwrap()).unwrap();
        for stored in CONFIGURATIONS {
            let read = read_configuration(stored.as_bytes()).unwrap();
            assert_eq!(text(write_configuration(&read)), stored);
        }
        for stored in JOBS {
            let read = read_job(stored.as_bytes()).unwrap();
            assert_eq!(text(write_job(&read)), stored);
        }
        for damaged in ["", "{}", "[]"] {
            assert!(read_configuration(damaged.as_bytes()).is_err());
            assert!(read_job(damaged.as_bytes()).is_err());
        }
    }
}
