//! The hub's errors, by their names and numbers.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $number:literal;)*) => {
        /// What the hub calls an error: a name, or a number, or both, as its answers differ (Azure docs, "Understand Azure IoT
        /// Hub error codes"; the numbers are those of Microsoft's SDKs).
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
            /// A name that is not known here.
            OtherName(String),
            /// A number that is not known here.
            OtherNumber(u32),
            /// The answer names none: then its status is all that there is.
            Unnamed,
        }

        impl ErrorCode {
            /// By its name; letters count in either case.
            #[must_use]
            pub fn from_name(name: &str) -> Self {
                $(if name.eq_ignore_ascii_case($name) { return Self::$variant; })*
                Self::OtherName(name.to_owned())
            }

            /// By its number.
            #[must_use]
            pub const fn from_number(number: u32) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::OtherNumber(other),
                }
            }

            /// Its name, if it has one.
            #[must_use]
            pub fn name(&self) -> Option<&str> {
                match self {
                    $(Self::$variant => Some($name),)*
                    Self::OtherName(name) => Some(name),
                    Self::OtherNumber(_) | Self::Unnamed => None,
                }
            }

            /// Its number, if that is known.
            #[must_use]
            pub const fn number(&self) -> Option<u32> {
                match self {
                    $(Self::$variant => Some($number),)*
                    Self::OtherNumber(number) => Some(*number),
                    Self::OtherName(_) | Self::Unnamed => None,
                }
            }
        }
    };
}

codes! {
    /// The query has no version of the API that the hub knows.
    InvalidProtocolVersion, "InvalidProtocolVersion", 400_001;
    /// The operation does not fit the thing.
    InvalidOperation, "InvalidOperation", 400_003;
    /// A value that the hub does not take. Its message says which.
    ArgumentInvalid, "ArgumentInvalid", 400_004;
    /// Something is missing.
    ArgumentNull, "ArgumentNull", 400_005;
    /// No JSON, or JSON of another form.
    FormatError, "IotHubFormatError", 400_006;
    /// Some changes of a bulk were not made.
    BulkRegistryOperationFailure, "BulkRegistryOperationFailure", 400_013;
    /// A wrong key, a token that has expired, or a policy without the right.
    Unauthorized, "IotHubUnauthorizedAccess", 401_002;
    /// As [`Unauthorized`](Self::Unauthorized), by its other number.
    UnauthorizedKey, "IotHubUnauthorized", 401_003;
    /// The hub is suspended.
    Suspended, "IotHubSuspended", 403_001;
    /// The day's messages are used up.
    QuotaExceeded, "IotHubQuotaExceeded", 403_002;
    /// There are as many jobs as may be.
    JobQuotaExceeded, "JobQuotaExceeded", 403_003;
    /// 50 messages wait for the device.
    QueueFull, "DeviceMaximumQueueDepthExceeded", 403_004;
    /// There are as many configurations as may be.
    TooManyConfigurations, "ConfigurationCountLimitExceeded", 403_000;
    /// There is no such resource.
    NotFound, "ResourceNotFound", 404_000;
    /// There is no such device.
    DeviceNotFound, "DeviceNotFound", 404_001;
    /// There is no such job.
    JobNotFound, "JobNotFound", 404_002;
    /// There is no such module.
    ModuleNotFound, "ModuleNotFound", 404_010;
    /// There is no such configuration.
    ConfigurationNotFound, "ConfigurationNotFound", 404_011;
    /// The device is not connected, and did not come in time.
    DeviceNotOnline, "DeviceNotOnline", 404_103;
    /// The device went before it answered: it may have done what was asked.
    DeviceConnectionClosedRemotely, "DeviceConnectionClosedRemotely", 404_104;
    /// The request took too long.
    RequestTimeout, "GenericTimeout", 408_000;
    /// There is a device of that name.
    DeviceAlreadyExists, "DeviceAlreadyExists", 409_001;
    /// There is a job of that name.
    JobAlreadyExists, "JobAlreadyExists", 409_003;
    /// There is a configuration of that name.
    ConfigurationAlreadyExists, "ConfigurationAlreadyExists", 409_004;
    /// There is a module of that name.
    ModuleAlreadyExists, "ModuleAlreadyExistsOnDevice", 409_301;
    /// It was changed since it had the ETag of `If-Match`: read it again.
    PreconditionFailed, "PreconditionFailed", 412_001;
    /// The job's state does not allow it.
    JobRunPreconditionFailed, "JobRunPreconditionFailed", 412_003;
    /// As [`PreconditionFailed`](Self::PreconditionFailed), by its other number.
    IotHubPreconditionFailed, "IotHubPreconditionFailed", 412_004;
    /// The body is too large.
    MessageTooLarge, "MessageTooLarge", 413_001;
    /// The device has as many modules as may be.
    TooManyModules, "TooManyModulesOnDevice", 413_003;
    /// More was asked in a time than the hub's tier allows.
    Throttled, "ThrottlingException", 429_001;
    /// Too many jobs run.
    TooManyActiveJobs, "ThrottlingMaxActiveJobCountExceeded", 429_004;
    /// A fault of the hub's.
    ServerError, "ServerError", 500_001;
    /// The device's response is none.
    BadDeviceResponse, "BadDeviceResponse", 502_101;
    /// The hub is busy.
    ServiceUnavailable, "ServiceUnavailable", 503_001;
    /// The device did not respond in time: it may have done what was asked.
    GatewayTimeout, "GatewayTimeout", 504_101;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.number()) {
            (Some(name), _) => f.write_str(name),
            (None, Some(number)) => number.fmt(f),
            (None, None) => f.write_str("no error code"),
        }
    }
}
