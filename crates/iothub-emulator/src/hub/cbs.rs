//! Claims-based security: tokens that a client puts while it is connected, and what it is answered.

use std::fmt;

use zeroize::Zeroizing;

use super::authentication::AuthFailure;

/// What was sent to the `$cbs` node.
pub(crate) enum TokenRequest {
    /// Put a token.
    Put {
        /// The type that it is said to be.
        kind: String,
        /// What it is said to be for. A hint: the token's own `sr` counts.
        audience: String,
        token: Zeroizing<String>,
    },
    /// Nothing that the node takes.
    Broken(AuthFailure),
}

/// The token types that are SAS: Node, C, Java and Python name the first, C# the second.
pub(crate) const SAS_TYPES: [&str; 2] = ["servicebus.windows.net:sastoken", "azure-devices.net:sastoken"];

/// Why a token was not taken, as `$cbs` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenRefusal {
    pub(crate) status: i32,
    pub(crate) description: String,
}

impl TokenRefusal {
    /// In the words of the real hub where traces show them.
    pub(crate) fn new(failure: &AuthFailure, hub: &str) -> Self {
        let (status, description) = match failure {
            AuthFailure::Request(_) | AuthFailure::TokenType(_) | AuthFailure::Token => {
                (400, format!("The request is not valid: {failure}."))
            }
            AuthFailure::Expired { .. } => (401, "The specified SAS token is expired".to_owned()),
            AuthFailure::TooManyTokens => (403, format!("amqp:resource-limit-exceeded (403005): {failure}.")),
            AuthFailure::Injected { status } => (*status, "Refused by a fault that was injected.".to_owned()),
            // What the real hub answers is not known; HTTP's status says it.
            AuthFailure::Throttled => (429, format!("ThrottlingException (429001): {failure}.")),
            AuthFailure::NotRegistered(identity) => {
                (404, format!("Device {identity} at IoTHub {hub} not registered."))
            }
            AuthFailure::Disabled(_) => (401, format!("Not authorized: {failure}.")),
            _ => (
                401,
                "The specified SAS token has an invalid signature. It does not match either the primary or \
                 secondary key."
                    .to_owned(),
            ),
        };
        Self { status, description }
    }
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { kind, audience, .. } => f
                .debug_struct("Put")
                .field("kind", kind)
                .field("audience", audience)
                .finish_non_exhaustive(),
            Self::Broken(failure) => f.debug_tuple("Broken").field(failure).finish(),
        }
    }
}
