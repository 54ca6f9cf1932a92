//! What goes wrong on purpose.

mod form;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use iothub_address::Identity;
use serde::{Deserialize, Serialize};

use self::form::Form;
use crate::clock::Timestamp;

/// Something that is to go wrong: for one device or module, or for everyone.
///
/// As JSON it is an object of `kind` (its name) and, where they are not the default, `device`, `module`, `reason`,
/// `delay_ms`, `duration_ms`, `condition`, `status` (of `RefusePutToken`) and `late_ms` (of `DelaySettlement`).
///
/// # Examples
///
/// ```
/// # async fn example(hub: &iothub_emulator::Emulator) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use iothub_emulator::{Fault, FaultKind};
///
/// // The connection of one device is reset, and each that it makes in the next half minute.
/// let device = iothub_address::DeviceId::parse("myFirstDevice")?;
/// hub.inject(Fault::new(FaultKind::KillTcp).of(device).duration(Duration::from_secs(30))).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) whom: Option<Identity>,
    pub(crate) reason: CloseReason,
    pub(crate) delay: Duration,
    pub(crate) duration: Option<Duration>,
    pub(crate) condition: Option<String>,
}

impl Fault {
    /// At once, for everyone, and ungracefully where that makes a difference.
    pub const fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            whom: None,
            reason: CloseReason::Boom,
            delay: Duration::ZERO,
            duration: None,
            condition: None,
        }
    }

    /// For this device or module only. What it shares with others, such as a connection, goes wrong for them too.
    #[must_use]
    pub fn of(mut self, identity: impl Into<Identity>) -> Self {
        self.whom = Some(identity.into());
        self
    }

    /// How something is ended. Default [`CloseReason::Boom`]; it matters only to the kinds whose name begins with
    /// `Kill`.
    #[must_use]
    pub const fn reason(mut self, reason: CloseReason) -> Self {
        self.reason = reason;
        self
    }

    /// When, by the hub's clock, from when it is injected. Default at once, at most a day.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// How long, by the hub's clock, from when it begins; at most a day.
    ///
    /// By default what is killed is killed once, and the other kinds last 30 s. What is killed for longer is killed
    /// again whenever it comes back in that time.
    #[must_use]
    pub const fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// The AMQP error condition that is given, in place of the usual one: `amqp:link:stolen`. It matters to the kinds
    /// that end a link, a session or a connection with [`CloseReason::Boom`], and to those that refuse messages.
    #[must_use]
    pub fn condition(mut self, condition: impl Into<String>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    /// What goes wrong.
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        self.kind
    }

    /// For whom, unless it is for everyone.
    #[must_use]
    pub const fn whom(&self) -> Option<&Identity> {
        self.whom.as_ref()
    }

    /// How long it lasts; nothing for what happens once.
    pub(crate) fn lasting(&self) -> Duration {
        match self.duration {
            Some(duration) => duration,
            None if self.kind.happens_at_once() => Duration::ZERO,
            None => DEFAULT_DURATION,
        }
    }

    pub(crate) fn check(&self) -> Result<(), FaultError> {
        if self.delay > LONGEST || self.duration.is_some_and(|duration| duration > LONGEST) {
            return Err(FaultError::TooLong);
        }
        let is_symbol = |text: &String| {
            (1..=MAX_CONDITION).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if self
            .condition
            .as_ref()
            .is_some_and(|condition| !is_symbol(condition))
        {
            return Err(FaultError::Condition);
        }
        match self.kind {
            FaultKind::RefusePutToken { status } if !(300..=599).contains(&status) => Err(FaultError::Status),
            FaultKind::DelaySettlement { by } if by > LONGEST => Err(FaultError::TooLong),
            _ => Ok(()),
        }
    }
}

/// A fault that lasts, or is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InjectedFault {
    /// What goes wrong, as it was injected.
    pub fault: Fault,
    /// When.
    pub when: FaultTime,
}

/// When a fault begins or ends, by the hub's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultTime {
    /// It is to come.
    Begins(Timestamp),
    /// It lasts.
    Ends(Timestamp),
}

/// Why a fault was not injected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// A delay or duration is longer than a day.
    #[error("a delay or duration is longer than a day")]
    TooLong,
    /// The condition is not one that AMQP could write: 1 to 255 graphic ASCII characters.
    #[error("a condition is 1 to 255 graphic ASCII characters")]
    Condition,
    /// The status that a token is to be refused with is none: 300 to 599.
    #[error("a status that refuses a token is from 300 to 599")]
    Status,
    /// As many faults as a hub keeps are there already.
    #[error("{MAX_FAULTS} faults are there already; wait until some have ended")]
    TooMany,
}

/// What goes wrong.
///
/// Those up to [`ShutDownMqtt`](Self::ShutDownMqtt) are the real hub's; a device can ask for them by the message
/// properties `AzIoTHub_FaultOperationType`, `…CloseReason`, `…DelayInSecs` and `…DurationInSecs`, as Microsoft's
/// own tests do. The others are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The TCP connection is reset; with [`CloseReason::Byebye`] it is ended in TLS and TCP's own way. Either way
    /// AMQP knows of nothing.
    KillTcp,
    /// `close`: with `amqp:connection:forced`, or without an error.
    KillAmqpConnection,
    /// `end` of the sessions in which the device has links: with `amqp:internal-error`, or without an error.
    KillAmqpSession,
    /// `detach` of the link of requests to `$cbs`: with `amqp:link:detach-forced` here and below, or without an error.
    KillAmqpCbsLinkReq,
    /// `detach` of the link of answers from `$cbs`.
    KillAmqpCbsLinkResp,
    /// `detach` of the telemetry link.
    KillAmqpD2cLink,
    /// `detach` of the link of cloud-to-device messages.
    KillAmqpC2dLink,
    /// `detach` of the link of twin requests.
    KillAmqpTwinLinkReq,
    /// `detach` of the link of twin answers and notifications.
    KillAmqpTwinLinkResp,
    /// `detach` of the link by which methods are called.
    KillAmqpMethodReqLink,
    /// `detach` of the link by which methods answer.
    KillAmqpMethodRespLink,
    /// Messages are rejected with `com.microsoft:device-container-throttled`, twin requests with status 429.
    InvokeThrottling,
    /// Messages are rejected with `amqp:resource-limit-exceeded` and 403002, twin requests with status 403.
    InvokeMaxMessageQuota,
    /// Messages and links are refused with `amqp:unauthorized-access`, tokens and twin requests with status 401.
    InvokeAuthError,
    /// All AMQP connections are closed with `amqp:connection:forced`, whoever it is for: the gateway is gone.
    ShutDownAmqp,
    /// Nothing happens: there is no MQTT here.
    ShutDownMqtt,
    /// The TCP connection ends without a word of TLS, so that it looks cut off.
    CutTls,
    /// Tokens that are put are refused.
    RefusePutToken {
        /// The answer's `status-code`, 300 to 599. By name it is 500.
        status: i32,
    },
    /// Tokens that are put are taken, and not answered.
    SwallowPutToken,
    /// No link gets credit. What it has left from before, it keeps.
    WithholdCredit,
    /// Sessions get no window to send in. One that has a window keeps it until the hub next speaks of it.
    CloseWindow,
    /// Messages are taken, and their outcome is never told.
    WithholdSettlement,
    /// Messages are taken, and their outcome is told late.
    DelaySettlement {
        /// How late. By name it is 5 s.
        by: Duration,
    },
    /// The hub reads nothing that the client sends. For longer than 4 minutes it ends the connection, which looks idle
    /// to it.
    StopReading,
    /// The hub sends nothing, heartbeats neither.
    StopWriting,
}

impl FaultKind {
    /// All there are, the parameterised ones as their names mean them.
    pub const ALL: [Self; 25] = [
        Self::KillTcp,
        Self::KillAmqpConnection,
        Self::KillAmqpSession,
        Self::KillAmqpCbsLinkReq,
        Self::KillAmqpCbsLinkResp,
        Self::KillAmqpD2cLink,
        Self::KillAmqpC2dLink,
        Self::KillAmqpTwinLinkReq,
        Self::KillAmqpTwinLinkResp,
        Self::KillAmqpMethodReqLink,
        Self::KillAmqpMethodRespLink,
        Self::InvokeThrottling,
        Self::InvokeMaxMessageQuota,
        Self::InvokeAuthError,
        Self::ShutDownAmqp,
        Self::ShutDownMqtt,
        Self::CutTls,
        Self::RefusePutToken { status: 500 },
        Self::SwallowPutToken,
        Self::WithholdCredit,
        Self::CloseWindow,
        Self::WithholdSettlement,
        Self::DelaySettlement {
            by: Duration::from_secs(5),
        },
        Self::StopReading,
        Self::StopWriting,
    ];

    /// Its name in message properties and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillTcp => "KillTcp",
            Self::KillAmqpConnection => "KillAmqpConnection",
            Self::KillAmqpSession => "KillAmqpSession",
            Self::KillAmqpCbsLinkReq => "KillAmqpCBSLinkReq",
            Self::KillAmqpCbsLinkResp => "KillAmqpCBSLinkResp",
            Self::KillAmqpD2cLink => "KillAmqpD2CLink",
            Self::KillAmqpC2dLink => "KillAmqpC2DLink",
            Self::KillAmqpTwinLinkReq => "KillAmqpTwinLinkReq",
            Self::KillAmqpTwinLinkResp => "KillAmqpTwinLinkResp",
            Self::KillAmqpMethodReqLink => "KillAmqpMethodReqLink",
            Self::KillAmqpMethodRespLink => "KillAmqpMethodRespLink",
            Self::InvokeThrottling => "InvokeThrottling",
            Self::InvokeMaxMessageQuota => "InvokeMaxMessageQuota",
            Self::InvokeAuthError => "InvokeAuthError",
            Self::ShutDownAmqp => "ShutDownAmqp",
            Self::ShutDownMqtt => "ShutDownMqtt",
            Self::CutTls => "CutTls",
            Self::RefusePutToken { .. } => "RefusePutToken",
            Self::SwallowPutToken => "SwallowPutToken",
            Self::WithholdCredit => "WithholdCredit",
            Self::CloseWindow => "CloseWindow",
            Self::WithholdSettlement => "WithholdSettlement",
            Self::DelaySettlement { .. } => "DelaySettlement",
            Self::StopReading => "StopReading",
            Self::StopWriting => "StopWriting",
        }
    }

    /// Whether a device can ask for it by message properties: whether the real hub has it.
    pub(crate) const fn is_the_real_hubs(self) -> bool {
        !matches!(
            self,
            Self::CutTls
                | Self::RefusePutToken { .. }
                | Self::SwallowPutToken
                | Self::WithholdCredit
                | Self::CloseWindow
                | Self::WithholdSettlement
                | Self::DelaySettlement { .. }
                | Self::StopReading
                | Self::StopWriting
        )
    }

    /// Whether it happens once, if nobody says for how long.
    const fn happens_at_once(self) -> bool {
        matches!(
            self,
            Self::KillTcp
                | Self::KillAmqpConnection
                | Self::KillAmqpSession
                | Self::KillAmqpCbsLinkReq
                | Self::KillAmqpCbsLinkResp
                | Self::KillAmqpD2cLink
                | Self::KillAmqpC2dLink
                | Self::KillAmqpTwinLinkReq
                | Self::KillAmqpTwinLinkResp
                | Self::KillAmqpMethodReqLink
                | Self::KillAmqpMethodRespLink
                | Self::ShutDownAmqp
                | Self::ShutDownMqtt
                | Self::CutTls
        )
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By its name, in capital or small letters; what has a parameter gets its default.
impl FromStr for FaultKind {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
            .ok_or(UnknownFault)
    }
}

/// No fault has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fault has that name")]
#[non_exhaustive]
pub struct UnknownFault;

/// How something is ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// With an error, or by force.
    #[default]
    Boom,
    /// As one does who has finished.
    Byebye,
}

impl CloseReason {
    /// `boom` or `byebye`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boom => "boom",
            Self::Byebye => "byebye",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CloseReason {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Boom, Self::Byebye]
            .into_iter()
            .find(|reason| reason.name().eq_ignore_ascii_case(name))
            .ok_or(UnknownReason)
    }
}

/// A close reason is `boom` or `byebye`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a close reason is boom or byebye")]
#[non_exhaustive]
pub struct UnknownReason;

/// How many faults a hub keeps, those to come and those that last.
pub(crate) const MAX_FAULTS: usize = 1024;
/// How long what is not over at once lasts, if nobody says so.
const DEFAULT_DURATION: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const MAX_CONDITION: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    /// The names are those of the protocol reference, §11, letter for letter.
    #[test]
    fn the_real_hubs_names_are_taken_in_any_case() {
        let names = [
            "KillTcp",
            "KillAmqpConnection",
            "KillAmqpSession",
            "KillAmqpCBSLinkReq",
            "KillAmqpCBSLinkResp",
            "KillAmqpD2CLink",
            "KillAmqpC2DLink",
            "KillAmqpTwinLinkReq",
            "KillAmqpTwinLinkResp",
            "KillAmqpMethodReqLink",
            "KillAmqpMethodRespLink",
            "InvokeThrottling",
            "InvokeMaxMessageQuota",
            "InvokeAuthError",
            "ShutDownAmqp",
            "ShutDownMqtt",
        ];
        let ours = |kind: &FaultKind| kind.is_the_real_hubs();
        assert_eq!(
            FaultKind::ALL.iter().filter(|kind| ours(kind)).count(),
            names.len()
        );
        for name in names {
            let kind: FaultKind = name.parse().unwrap();
            assert_eq!(kind.name(), name);
            assert!(kind.is_the_real_hubs());
            assert_eq!(name.to_lowercase().parse(), Ok(kind));
        }
        assert_eq!("KillAmqp".parse::<FaultKind>(), Err(UnknownFault));
        assert_eq!("Boom".parse(), Ok(CloseReason::Boom));
        assert_eq!("byebye".parse(), Ok(CloseReason::Byebye));
        assert_eq!("bye".parse::<CloseReason>(), Err(UnknownReason));
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for kind in FaultKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
    }

    #[test]
    fn what_is_killed_is_killed_once_and_the_rest_lasts() {
        let lasting = |kind| Fault::new(kind).lasting();
        assert_eq!(lasting(FaultKind::KillTcp), Duration::ZERO);
        assert_eq!(lasting(FaultKind::InvokeThrottling), Duration::from_secs(30));
        let minute = Duration::from_secs(60);
        assert_eq!(Fault::new(FaultKind::KillTcp).duration(minute).lasting(), minute);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let fault = || Fault::new(FaultKind::KillAmqpD2cLink);
        let day = Duration::from_secs(86_400);
        let longer = day + Duration::from_millis(1);
        assert_eq!(
            fault()
                .delay(day)
                .duration(day)
                .condition("amqp:not-found")
                .check(),
            Ok(())
        );
        assert_eq!(fault().delay(longer).check(), Err(FaultError::TooLong));
        assert_eq!(fault().duration(longer).check(), Err(FaultError::TooLong));
        for condition in ["", "amqp:not found", "amqp:ñ", &"x".repeat(256)] {
            assert_eq!(fault().condition(condition).check(), Err(FaultError::Condition));
        }
        for status in [200, 299, 600, -1] {
            let refuse = Fault::new(FaultKind::RefusePutToken { status });
            assert_eq!(refuse.check(), Err(FaultError::Status));
        }
        let late = Fault::new(FaultKind::DelaySettlement { by: longer });
        assert_eq!(late.check(), Err(FaultError::TooLong));
    }
}
