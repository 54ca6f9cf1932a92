//! The hub's errors by their names and numbers, as Microsoft's SDKs list them, each with its HTTP status.

use hyper::StatusCode;

/// An error that the REST API answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    InvalidProtocolVersion,
    ArgumentInvalid,
    ArgumentNull,
    IotHubFormatError,
    BulkRegistryOperationFailure,
    Unauthorized,
    QuotaExceeded,
    JobQuotaExceeded,
    ConfigurationCountLimitExceeded,
    NotFound,
    DeviceNotFound,
    JobNotFound,
    ConfigurationNotFound,
    ModuleNotFound,
    DeviceNotOnline,
    DeviceConnectionClosedRemotely,
    Method,
    RequestTimeout,
    DeviceAlreadyExists,
    ModuleAlreadyExists,
    ConfigurationAlreadyExists,
    JobAlreadyExists,
    PreconditionFailed,
    MessageLockLost,
    JobRunPreconditionFailed,
    QueueFull,
    MessageTooLarge,
    TooManyModules,
    Throttling,
    TooManyActiveJobs,
    ServerError,
    BadDeviceResponse,
    NotImplemented,
    ServiceUnavailable,
    GatewayTimeout,
}

impl Code {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::InvalidProtocolVersion
            | Self::ArgumentInvalid
            | Self::ArgumentNull
            | Self::IotHubFormatError
            | Self::BulkRegistryOperationFailure => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::QuotaExceeded
            | Self::JobQuotaExceeded
            | Self::ConfigurationCountLimitExceeded
            | Self::QueueFull => StatusCode::FORBIDDEN,
            Self::NotFound
            | Self::DeviceNotFound
            | Self::JobNotFound
            | Self::ConfigurationNotFound
            | Self::ModuleNotFound
            | Self::DeviceNotOnline
            | Self::DeviceConnectionClosedRemotely => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::DeviceAlreadyExists
            | Self::ModuleAlreadyExists
            | Self::ConfigurationAlreadyExists
            | Self::JobAlreadyExists => StatusCode::CONFLICT,
            Self::PreconditionFailed | Self::MessageLockLost | Self::JobRunPreconditionFailed => {
                StatusCode::PRECONDITION_FAILED
            }
            Self::MessageTooLarge | Self::TooManyModules => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Throttling | Self::TooManyActiveJobs => StatusCode::TOO_MANY_REQUESTS,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::BadDeviceResponse => StatusCode::BAD_GATEWAY,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What stands behind `ErrorCode:` and in the header `iothub-errorcode`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::InvalidProtocolVersion => "InvalidProtocolVersion",
            Self::ArgumentInvalid => "ArgumentInvalid",
            Self::ArgumentNull => "ArgumentNull",
            Self::IotHubFormatError => "IotHubFormatError",
            Self::BulkRegistryOperationFailure => "BulkRegistryOperationFailure",
            Self::Unauthorized => "IotHubUnauthorizedAccess",
            Self::QuotaExceeded => "IotHubQuotaExceeded",
            Self::NotFound => "ResourceNotFound",
            Self::DeviceNotFound => "DeviceNotFound",
            Self::ModuleNotFound => "ModuleNotFound",
            Self::DeviceNotOnline => "DeviceNotOnline",
            Self::DeviceConnectionClosedRemotely => "DeviceConnectionClosedRemotely",
            Self::Method => "InvalidOperation",
            Self::RequestTimeout => "GenericTimeout",
            Self::DeviceAlreadyExists => "DeviceAlreadyExists",
            Self::ModuleAlreadyExists => "ModuleAlreadyExistsOnDevice",
            Self::PreconditionFailed => "PreconditionFailed",
            Self::MessageLockLost => "DeviceMessageLockLost",
            Self::QueueFull => "DeviceMaximumQueueDepthExceeded",
            Self::MessageTooLarge => "MessageTooLarge",
            Self::TooManyModules => "TooManyModulesOnDevice",
            Self::Throttling => "ThrottlingException",
            Self::ServerError => "ServerError",
            Self::NotImplemented => "NotImplemented",
            Self::BadDeviceResponse => "BadDeviceResponse",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::GatewayTimeout => "GatewayTimeout",
            Self::JobQuotaExceeded => "JobQuotaExceeded",
            Self::ConfigurationCountLimitExceeded => "ConfigurationCountLimitExceeded",
            Self::JobNotFound => "JobNotFound",
            Self::ConfigurationNotFound => "ConfigurationNotFound",
            Self::ConfigurationAlreadyExists => "ConfigurationAlreadyExists",
            Self::JobAlreadyExists => "JobAlreadyExists",
            Self::JobRunPreconditionFailed => "JobRunPreconditionFailed",
            Self::TooManyActiveJobs => "ThrottlingMaxActiveJobCountExceeded",
        }
    }

    /// Its number, where an answer has it.
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::InvalidProtocolVersion => 400_001,
            Self::Method => 400_003,
            Self::ArgumentInvalid => 400_004,
            Self::ArgumentNull => 400_005,
            Self::IotHubFormatError => 400_006,
            Self::BulkRegistryOperationFailure => 400_013,
            Self::Unauthorized => 401_002,
            Self::QuotaExceeded => 403_002,
            Self::QueueFull => 403_004,
            Self::NotFound => 404_000,
            Self::DeviceNotFound => 404_001,
            Self::ModuleNotFound => 404_010,
            Self::DeviceNotOnline => 404_103,
            Self::DeviceConnectionClosedRemotely => 404_104,
            Self::RequestTimeout => 408_000,
            Self::DeviceAlreadyExists => 409_001,
            Self::ModuleAlreadyExists => 409_301,
            Self::PreconditionFailed => 412_001,
            Self::MessageLockLost => 412_002,
            Self::MessageTooLarge => 413_001,
            Self::TooManyModules => 413_003,
            Self::Throttling => 429_001,
            Self::ServerError => 500_001,
            Self::NotImplemented => 501_000,
            Self::BadDeviceResponse => 502_101,
            Self::ServiceUnavailable => 503_001,
            Self::GatewayTimeout => 504_101,
            Self::JobQuotaExceeded => 403_003,
            Self::ConfigurationCountLimitExceeded => 403_000,
            Self::JobNotFound => 404_002,
            Self::ConfigurationNotFound => 404_011,
            Self::ConfigurationAlreadyExists => 409_004,
            Self::JobAlreadyExists => 409_003,
            Self::JobRunPreconditionFailed => 412_003,
            Self::TooManyActiveJobs => 429_004,
        }
    }
}
