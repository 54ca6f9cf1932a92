//! Scheduled jobs: a change of twins, or a call of a method, for many devices.

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::RegistryError;
use crate::methods::MethodCall;
use crate::pages::{Ask, Pages};
use crate::registry::Registry;
use crate::request::{Call, escaped};
use crate::retry::Safety;
use crate::twin::TwinChange;
use crate::wire;

/// What a job is to do, for whom, and when (Azure docs, "Schedule jobs on multiple devices").
#[derive(Debug, Clone, PartialEq)]
pub struct JobRequest {
    id: String,
    work: Work,
    condition: String,
    start: Option<OffsetDateTime>,
    longest: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
enum Work {
    UpdateTwin(TwinChange),
    CallMethod(MethodCall),
}

/// A job, as the hub knows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Job {
    /// Its name.
    #[serde(alias = "id")]
    pub job_id: String,
    /// What it does.
    #[serde(rename = "type", alias = "jobType")]
    pub kind: JobKind,
    /// How far it is.
    pub status: JobStatus,
    /// For whom.
    #[serde(default)]
    pub query_condition: Option<String>,
    /// When it was made.
    #[serde(default, deserialize_with = "wire::moment")]
    pub created_time: Option<OffsetDateTime>,
    /// When it is due.
    #[serde(default, deserialize_with = "wire::moment")]
    pub start_time: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(default, deserialize_with = "wire::moment")]
    pub end_time: Option<OffsetDateTime>,
    /// Why it failed, or how it is.
    #[serde(default)]
    pub failure_reason: Option<String>,
    /// For how many devices each: `deviceCount`, `failedCount`, `succeededCount`, `runningCount`, `pendingCount`.
    #[serde(
        default,
        rename = "deviceJobStatistics",
        deserialize_with = "wire::or_default"
    )]
    pub statistics: serde_json::Map<String, Value>,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum JobKind {
    /// It changes twins.
    ScheduleUpdateTwin,
    /// It calls a method.
    ScheduleDeviceMethod,
    /// Any other.
    #[serde(other)]
    Other,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum JobStatus {
    /// It waits in a line.
    Enqueued,
    /// It waits for others.
    Queued,
    /// It waits for its time.
    Scheduled,
    /// It runs.
    Running,
    /// It is over, for each device with or without success.
    Completed,
    /// It could not be done.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// Any other.
    #[serde(other)]
    Unknown,
}

/// Which jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobFilter {
    /// Those that do this.
    pub kind: Option<JobKind>,
    /// Those that are this far.
    pub status: Option<JobStatus>,
}

impl JobRequest {
    /// Patches the twins of devices that meet a condition of the query language, as
    /// [`patch_twin`](Registry::patch_twin) does.
    #[must_use]
    pub fn update_twin(id: impl Into<String>, condition: impl Into<String>, change: TwinChange) -> Self {
        Self::new(id.into(), condition.into(), Work::UpdateTwin(change))
    }

    /// Calls a method of devices that meet a condition of the query language.
    #[must_use]
    pub fn call_method(id: impl Into<String>, condition: impl Into<String>, call: MethodCall) -> Self {
        Self::new(id.into(), condition.into(), Work::CallMethod(call))
    }

    const fn new(id: String, condition: String, work: Work) -> Self {
        Self {
            id,
            work,
            condition,
            start: None,
            longest: None,
        }
    }

    /// When. Default now.
    #[must_use]
    pub const fn start(mut self, time: OffsetDateTime) -> Self {
        self.start = Some(time);
        self
    }

    /// How long it may run, in whole seconds. Default an hour.
    #[must_use]
    pub const fn longest(mut self, time: Duration) -> Self {
        self.longest = Some(time);
        self
    }

    fn to_json(&self) -> Result<Value, RegistryError> {
        let start = self.start.unwrap_or_else(|| std::time::SystemTime::now().into());
        let start = start
            .to_offset(time::UtcOffset::UTC)
            .format(&Rfc3339)
            .map_err(|_| RegistryError::Unfit("a job's start has a year of four digits"))?;
        let mut job = json!({
            "jobId": self.id,
            "queryCondition": self.condition,
            "startTime": start,
            "maxExecutionTimeInSeconds": self.longest.unwrap_or(LONGEST).as_secs(),
        });
        match &self.work {
            Work::UpdateTwin(change) => {
                job["type"] = "scheduleUpdateTwin".into();
                job["updateTwin"] = change.to_json();
                // The hub wants one here.
                job["updateTwin"]["etag"] = "*".into();
            }
            Work::CallMethod(call) => {
                job["type"] = "scheduleDeviceMethod".into();
                job["cloudToDeviceMethod"] = call.to_json();
            }
        }
        Ok(job)
    }
}

impl JobKind {
    const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::ScheduleUpdateTwin => Some("scheduleUpdateTwin"),
            Self::ScheduleDeviceMethod => Some("scheduleDeviceMethod"),
            Self::Other => None,
        }
    }
}

impl JobStatus {
    /// Whether it is over.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Enqueued => Some("enqueued"),
            Self::Queued => Some("queued"),
            Self::Scheduled => Some("scheduled"),
            Self::Running => Some("running"),
            Self::Completed => Some("completed"),
            Self::Failed => Some("failed"),
            Self::Cancelled => Some("cancelled"),
            Self::Unknown => None,
        }
    }
}

impl JobFilter {
    /// Those that do this.
    #[must_use]
    pub const fn kind(mut self, kind: JobKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Those that are this far.
    #[must_use]
    pub const fn status(mut self, status: JobStatus) -> Self {
        self.status = Some(status);
        self
    }
}

impl Registry {
    /// Schedules a job.
    ///
    /// # Errors
    /// [`ErrorCode::JobAlreadyExists`](crate::ErrorCode::JobAlreadyExists), or as of every call. After
    /// [`RegistryError::Unknown`] ask for the [`job`](Self::job).
    pub async fn create_job(&self, job: &JobRequest) -> Result<Job, RegistryError> {
        let call = Call::new(Method::PUT, &path(&job.id), Safety::Write);
        Ok(wire::read(self.ask(&call.json(&job.to_json()?)).await?)?)
    }

    /// How a job is.
    ///
    /// # Errors
    /// [`ErrorCode::JobNotFound`](crate::ErrorCode::JobNotFound), or as of every call.
    pub async fn job(&self, id: &str) -> Result<Job, RegistryError> {
        Ok(wire::read(self.ask(&Call::get(&path(id))).await?)?)
    }

    /// Jobs, in pages; [`Page::rows`](crate::Page::rows) has the form of a [`Job`], which [`Job::from_row`] reads.
    #[must_use]
    pub fn jobs(&self, which: JobFilter) -> Pages {
        let kind = which.kind.and_then(JobKind::as_str);
        let status = which.status.and_then(JobStatus::as_str);
        Pages::new(self.clone(), Ask::Jobs(kind, status))
    }

    /// Ends a job that is not over. What it has done stays.
    ///
    /// # Errors
    /// [`ErrorCode::JobRunPreconditionFailed`](crate::ErrorCode::JobRunPreconditionFailed) if it is over, or as of every call.
    pub async fn cancel_job(&self, id: &str) -> Result<Job, RegistryError> {
        let call = Call::new(Method::POST, &format!("{}/cancel", path(id)), Safety::Write);
        Ok(wire::read(self.ask(&call).await?)?)
    }
}

impl Job {
    /// A row of [`Registry::jobs`].
    ///
    /// # Errors
    /// [`BadReply::Form`](crate::BadReply::Form).
    pub fn from_row(row: Value) -> Result<Self, RegistryError> {
        Ok(wire::read(row)?)
    }
}

fn path(id: &str) -> String {
    format!("/jobs/v2/{}", escaped(id))
}

/// As Microsoft's SDKs have it.
const LONGEST: Duration = Duration::from_secs(3600);
