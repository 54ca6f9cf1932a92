//! Scheduled jobs: a change of twins or a call of a method, for all devices of a condition, at a time by the hub's clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use iothub_address::Identity;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Hub;
use super::agenda::Due;
use super::command::Reply;
use super::methods::{Call, MethodError, MethodResponse};
use super::record::Part;
use super::twins::TwinChange;
use crate::clock::Timestamp;
use crate::query::Target;

/// A job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) work: Work,
    /// `updateTwin` or `cloudToDeviceMethod`, as it was given.
    pub(crate) given: Value,
    /// For which devices, as it was given.
    pub(crate) condition: String,
    pub(crate) target: Target,
    pub(crate) created: Timestamp,
    pub(crate) start: Timestamp,
    pub(crate) longest: Duration,
    pub(crate) state: JobState,
}

/// What a job does with each device.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// With the ETag that its twin must have.
    UpdateTwin(TwinChange, Option<String>),
    CallMethod(Call),
}

impl Work {
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::UpdateTwin(..) => "scheduleUpdateTwin",
            Self::CallMethod(_) => "scheduleDeviceMethod",
        }
    }
}

/// How far a job has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobState {
    pub(crate) status: JobStatus,
    pub(crate) updated: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    /// By the text of each device's identity, once it has started.
    pub(crate) devices: BTreeMap<String, DeviceJob>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JobStatus {
    Scheduled,
    Running,
    Completed,
    Cancelled,
}

impl JobStatus {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    const fn is_active(self) -> bool {
        matches!(self, Self::Scheduled | Self::Running)
    }
}

/// How far a job has come with one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeviceJob {
    status: DeviceStatus,
    started: Option<Timestamp>,
    updated: Timestamp,
    /// The status and payload that the device answered.
    outcome: Option<(i32, Value)>,
    /// The code and words of what went wrong.
    error: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DeviceStatus {
    Pending,
    Running,
    Completed,
    Failed,
    Canceled,
}

impl DeviceStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// Why a job was not made or cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JobError {
    #[error("there is a job {0}")]
    Exists(String),
    #[error("there is no job {0}")]
    NotFound(String),
    #[error("job {0} has ended")]
    Ended(String),
    #[error("{0} jobs are scheduled or running, and the hub keeps no more")]
    TooMany(usize),
    #[error("{0} jobs are active, and the hub's tier has no more at once")]
    TooManyActive(usize),
}

/// All jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    by_id: BTreeMap<String, Job>,
    /// The devices that a running job has not come to yet.
    pending: BTreeMap<String, VecDeque<Identity>>,
    /// The calls of methods that wait for their answers, and whose they are.
    calls: BTreeMap<Reply, (String, Identity)>,
    /// Those of them that have been answered, until they are looked at.
    answers: Vec<(Reply, Result<MethodResponse, MethodError>)>,
    last_reply: Reply,
}

impl Jobs {
    /// Whether a method's answer is for a job.
    pub(super) fn awaits(&self, reply: Reply) -> bool {
        self.calls.contains_key(&reply)
    }

    fn in_flight(&self, id: &str) -> usize {
        self.calls.values().filter(|(job, _)| job == id).count()
    }
}

impl Hub {
    pub(crate) fn job(&self, id: &str) -> Result<&Job, JobError> {
        self.jobs
            .by_id
            .get(id)
            .ok_or_else(|| JobError::NotFound(id.to_owned()))
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = (&str, &Job)> {
        self.jobs.by_id.iter().map(|(id, job)| (id.as_str(), job))
    }

    pub(crate) fn put_job(&mut self, id: String, job: Job, now: Timestamp) -> Result<(), JobError> {
        if self.jobs.by_id.contains_key(&id) {
            return Err(JobError::Exists(id));
        }
        self.forget_old_jobs(now);
        let active = self
            .jobs()
            .filter(|(_, job)| job.state.status.is_active())
            .count();
        if active >= MAX_JOBS {
            return Err(JobError::TooMany(active));
        }
        if self.limits.active_jobs().is_some_and(|most| active >= most) {
            return Err(JobError::TooManyActive(active));
        }
        self.schedule_job(&id, &job, now);
        self.changes.touch(|| Part::Job(id.clone()));
        self.jobs.by_id.insert(id, job);
        Ok(())
    }

    /// Ends what has not been done yet. What a device was called to do it may do all the same.
    pub(crate) fn cancel_job(&mut self, id: &str, now: Timestamp) -> Result<(), JobError> {
        if !self.job(id)?.state.status.is_active() {
            return Err(JobError::Ended(id.to_owned()));
        }
        self.end_job(id, JobStatus::Cancelled, DeviceStatus::Canceled, None, now);
        Ok(())
    }

    /// A job's time has come, or one of its calls was answered: does with the devices what can be done.
    pub(super) fn run_job(&mut self, id: &str, now: Timestamp) {
        let Some(job) = self.jobs.by_id.get(id) else {
            return;
        };
        if job.state.status == JobStatus::Scheduled {
            self.start_job(id, now);
        }
        let Some(job) = self.jobs.by_id.get(id) else {
            return;
        };
        if job.state.status != JobStatus::Running {
            return;
        }
        let work = job.work.clone();
        while self.jobs.in_flight(id) < WINDOW {
            let next = self.jobs.pending.get_mut(id).and_then(VecDeque::pop_front);
            let Some(identity) = next else { break };
            self.run_for(id, &identity, &work, now);
        }
        let left = self.jobs.pending.get(id).map_or(0, VecDeque::len) + self.jobs.in_flight(id);
        if left == 0 {
            self.end_job(id, JobStatus::Completed, DeviceStatus::Failed, None, now);
        }
    }

    /// The job has had its time.
    pub(super) fn expire_job(&mut self, id: &str, now: Timestamp) {
        let error = ("GatewayTimeout", "The job's time was over.");
        self.end_job(id, JobStatus::Completed, DeviceStatus::Failed, Some(error), now);
    }

    /// A device has answered what a job has called, or will not. It is looked at in the same turn, behind whatever it is
    /// that answers.
    pub(super) fn answer_job(&mut self, reply: Reply, outcome: Result<MethodResponse, MethodError>) {
        self.jobs.answers.push((reply, outcome));
        self.agenda.set(Due::JobAnswers, Some(Timestamp::default()));
    }

    pub(super) fn take_job_answers(&mut self, now: Timestamp) {
        for (reply, outcome) in std::mem::take(&mut self.jobs.answers) {
            self.job_answered(reply, outcome, now);
        }
    }

    fn job_answered(&mut self, reply: Reply, outcome: Result<MethodResponse, MethodError>, now: Timestamp) {
        let Some((id, identity)) = self.jobs.calls.remove(&reply) else {
            return;
        };
        let result = match outcome {
            Ok(response) => {
                let payload = serde_json::from_slice(&response.payload).unwrap_or(Value::Null);
                Ok(Some((response.status, payload)))
            }
            Err(error) => Err((error.code_name().to_owned(), error.to_string())),
        };
        self.note_job(&id, &identity, result, now);
        self.run_job(&id, now);
    }

    /// Puts in a job as an earlier run has kept it. What was on its way to a device then is not tried again, since the
    /// device may have done it.
    pub(super) fn restore_job(&mut self, id: String, mut job: Job, now: Timestamp) {
        if job.state.status == JobStatus::Running {
            let mut pending = VecDeque::new();
            for (identity, device) in &mut job.state.devices {
                match (device.status, identity.parse()) {
                    (DeviceStatus::Pending, Ok(identity)) => pending.push_back(identity),
                    (DeviceStatus::Running, _) => {
                        let error = ("ServerError".to_owned(), "The hub was restarted.".to_owned());
                        device.end(DeviceStatus::Failed, now);
                        device.error = Some(error);
                    }
                    _ => {}
                }
            }
            self.jobs.pending.insert(id.clone(), pending);
        }
        if job.state.status.is_active() {
            self.schedule_job(&id, &job, now);
        }
        self.jobs.by_id.insert(id, job);
    }

    /// What jobs say of devices, by job and device, from behind one of them.
    pub(super) fn job_documents(&self, after: Option<&str>) -> impl Iterator<Item = (String, Value)> {
        let after = after.and_then(|after| after.split_once(BETWEEN));
        let after = after.map(|(job, device)| (job.to_owned(), device.to_owned()));
        let all = self.jobs().flat_map(|(id, job)| {
            let devices = job.state.devices.iter();
            devices.map(move |(identity, device)| (id, job, identity, device))
        });
        all.skip_while(move |(id, _, identity, _)| {
            let after = after.as_ref();
            after.is_some_and(|(job, device)| (*id, identity.as_str()) <= (job.as_str(), device.as_str()))
        })
        .map(|(id, job, identity, device)| {
            (
                format!("{id}{BETWEEN}{identity}"),
                device.document(id, job, identity),
            )
        })
    }

    fn schedule_job(&mut self, id: &str, job: &Job, now: Timestamp) {
        let at = job.start.max(now);
        self.agenda.set(Due::Job(id.to_owned()), Some(at));
        self.agenda.set(
            Due::JobEnd(id.to_owned()),
            Some(job.start.max(job.created) + job.longest),
        );
    }

    fn start_job(&mut self, id: &str, now: Timestamp) {
        let Some(job) = self.jobs.by_id.get(id) else {
            return;
        };
        let targets = self.targets(&job.target);
        let devices = targets
            .iter()
            .map(|identity| (identity.to_string(), DeviceJob::pending(now)));
        let devices: BTreeMap<_, _> = devices.collect();
        if let Some(job) = self.jobs.by_id.get_mut(id) {
            job.state.devices = devices;
            job.state.status = JobStatus::Running;
            job.state.updated = now;
        }
        self.jobs.pending.insert(id.to_owned(), targets.into());
        self.changes.touch(|| Part::Job(id.to_owned()));
    }

    fn run_for(&mut self, id: &str, identity: &Identity, work: &Work, now: Timestamp) {
        match work {
            Work::UpdateTwin(change, etag) => {
                let result = match self.change_twin(identity, change.clone(), etag.as_deref(), now) {
                    Ok(Ok(_)) => Ok(None),
                    Ok(Err(error)) => Err(("ArgumentInvalid".to_owned(), error.to_string())),
                    Err(error) => Err(("DeviceNotFound".to_owned(), error.to_string())),
                };
                self.note_job(id, identity, result, now);
            }
            Work::CallMethod(call) => {
                if let Some(device) = self.device_job(id, identity) {
                    device.status = DeviceStatus::Running;
                    device.started = Some(now);
                    device.updated = now;
                }
                self.jobs.last_reply += 1;
                let reply = OF_JOBS | self.jobs.last_reply;
                let whose = (id.to_owned(), identity.clone());
                self.jobs.calls.insert(reply, whose);
                self.call_method(identity, call.clone(), reply, now);
            }
        }
    }

    /// The device's part is done, or has failed.
    fn note_job(
        &mut self,
        id: &str,
        identity: &Identity,
        result: Result<Option<(i32, Value)>, (String, String)>,
        now: Timestamp,
    ) {
        let Some(device) = self.device_job(id, identity) else {
            return;
        };
        match result {
            Ok(outcome) => {
                device.end(DeviceStatus::Completed, now);
                device.outcome = outcome;
            }
            Err(error) => {
                device.end(DeviceStatus::Failed, now);
                device.error = Some(error);
            }
        }
        if let Some(job) = self.jobs.by_id.get_mut(id) {
            job.state.updated = now;
        }
        self.changes.touch(|| Part::Job(id.to_owned()));
    }

    fn device_job(&mut self, id: &str, identity: &Identity) -> Option<&mut DeviceJob> {
        let job = self.jobs.by_id.get_mut(id)?;
        job.state.devices.get_mut(&identity.to_string())
    }

    /// Nothing more is done. What has not been is `rest`, and that for this reason.
    fn end_job(
        &mut self,
        id: &str,
        status: JobStatus,
        rest: DeviceStatus,
        error: Option<(&str, &str)>,
        now: Timestamp,
    ) {
        let Some(job) = self.jobs.by_id.get_mut(id) else {
            return;
        };
        for device in job.state.devices.values_mut() {
            if matches!(device.status, DeviceStatus::Pending | DeviceStatus::Running) {
                device.end(rest, now);
                device.error = error.map(|(code, words)| (code.to_owned(), words.to_owned()));
            }
        }
        job.state.status = status;
        job.state.updated = now;
        job.state.ended = Some(now);
        self.jobs.pending.remove(id);
        self.agenda.set(Due::Job(id.to_owned()), None);
        self.agenda.set(Due::JobEnd(id.to_owned()), None);
        self.changes.touch(|| Part::Job(id.to_owned()));
    }

    /// Those that ended long ago, and while there are too many, those that ended first.
    fn forget_old_jobs(&mut self, now: Timestamp) {
        let mut ended: Vec<(Timestamp, String)> = self
            .jobs()
            .filter_map(|(id, job)| Some((job.state.ended?, id.to_owned())))
            .collect();
        ended.sort_unstable();
        let too_many = (self.jobs.by_id.len() + 1).saturating_sub(MAX_JOBS);
        for (place, (at, id)) in ended.into_iter().enumerate() {
            if place < too_many || at + RETENTION <= now {
                self.jobs.by_id.remove(&id);
                self.changes.touch(|| Part::Job(id.clone()));
            }
        }
    }
}

impl Job {
    /// `JobResponse`.
    pub(crate) fn to_json(&self, id: &str) -> Value {
        let mut document = Map::new();
        let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
        put("jobId", id.into());
        put("queryCondition", self.condition.as_str().into());
        put("createdTime", self.created.as_service_time().into());
        put("startTime", self.start.as_service_time().into());
        put("lastUpdatedDateTime", self.state.updated.as_service_time().into());
        if let Some(ended) = self.state.ended {
            put("endTime", ended.as_service_time().into());
        }
        put("maxExecutionTimeInSeconds", self.longest.as_secs().into());
        put("type", self.work.type_name().into());
        let given = match self.work {
            Work::UpdateTwin(..) => "updateTwin",
            Work::CallMethod(_) => "cloudToDeviceMethod",
        };
        put(given, self.given.clone());
        put("status", self.state.status.as_str().into());
        let count = |wanted: DeviceStatus| {
            let devices = self.state.devices.values();
            devices.filter(|device| device.status == wanted).count()
        };
        put(
            "deviceJobStatistics",
            json!({
                "deviceCount": self.state.devices.len(),
                "failedCount": count(DeviceStatus::Failed),
                "succeededCount": count(DeviceStatus::Completed),
                "runningCount": count(DeviceStatus::Running),
                "pendingCount": count(DeviceStatus::Pending),
            }),
        );
        Value::Object(document)
    }
}

impl DeviceJob {
    const fn pending(now: Timestamp) -> Self {
        Self {
            status: DeviceStatus::Pending,
            started: None,
            updated: now,
            outcome: None,
            error: None,
        }
    }

    fn end(&mut self, status: DeviceStatus, now: Timestamp) {
        self.status = status;
        self.started.get_or_insert(now);
        self.updated = now;
    }

    /// As the documentation shows what `devices.jobs` holds.
    fn document(&self, id: &str, job: &Job, identity: &str) -> Value {
        let (device, module) = match identity.split_once("/modules/") {
            Some((device, module)) => (device, Some(module)),
            None => (identity, None),
        };
        let ended = matches!(
            self.status,
            DeviceStatus::Completed | DeviceStatus::Failed | DeviceStatus::Canceled
        );
        let outcome = self.outcome.as_ref();
        let response = outcome.map(|(status, payload)| json!({"status": status, "payload": payload}));
        let mut document = json!({
            "deviceId": device,
            "jobId": id,
            "jobType": job.work.type_name(),
            "status": self.status.as_str(),
            "startTimeUtc": self.started.map(Timestamp::as_service_time),
            "endTimeUtc": ended.then(|| self.updated.as_service_time()),
            "createdDateTimeUtc": job.created.as_service_time(),
            "lastUpdatedDateTimeUtc": self.updated.as_service_time(),
            "outcome": {"deviceMethodResponse": response},
        });
        if let Some(module) = module {
            document["moduleId"] = module.into();
        }
        if let Some((code, description)) = &self.error {
            document["error"] = json!({"code": code, "description": description});
        }
        document
    }
}

impl MethodError {
    /// The hub's word for it.
    pub(crate) const fn code_name(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "DeviceNotFound",
            Self::NotOnline(_) => "DeviceNotOnline",
            Self::Gone(_) => "DeviceConnectionClosedRemotely",
            Self::Timeout(_) => "GatewayTimeout",
            Self::TooLarge { .. } => "MessageTooLarge",
            Self::TooMany => "ServiceUnavailable",
            Self::Throttled => "ThrottlingException",
            Self::QuotaExceeded { .. } => "IotHubQuotaExceeded",
        }
    }
}

/// What no identity's text and no job's id has in it.
const BETWEEN: char = '\n';
/// Marks the replies that are a job's; others are counted from 1.
const OF_JOBS: Reply = 1 << 63;
/// How many calls of one job wait for their answers at once.
const WINDOW: usize = 100;
/// The most jobs that are kept.
const MAX_JOBS: usize = 1000;
/// How long a job is kept behind its end (Azure docs, "IoT Hub quotas and throttling": job history up to 30 days).
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
