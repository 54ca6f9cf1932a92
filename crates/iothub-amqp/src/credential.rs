//! Where tokens come from.

use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::time::Duration;

use iothub_address::Resource;
use iothub_sas::{SasToken, SharedKey, Signer, UnixTime};

/// What gives a client its tokens: a [`Key`], one ready [`SasToken`], or the caller's own service.
///
/// # Delivery
/// No message waits for a renewal: the token before is used until the hub has taken the new one. Without a first one
/// nothing is sent; what was queued waits while another try may help.
///
/// # Cancel safety
/// The client drops a future of [`token`](Self::token) whose time is up, and any other after its own end. With the last of
/// them it lets go of the credential.
///
/// # Examples
/// ```
/// use iothub_address::Resource;
/// use iothub_amqp::{Credential, CredentialError, TokenFuture};
/// use iothub_sas::{SasToken, UnixTime};
///
/// /// Asks a service on this machine that holds the key.
/// struct Vault;
///
/// impl Credential for Vault {
///     fn token<'a>(&'a self, resource: &'a Resource, _now: UnixTime) -> TokenFuture<'a> {
///         Box::pin(async move {
///             let text = ask_the_vault(resource.as_str()).await.map_err(|error| CredentialError::passing(error.to_string()))?;
///             SasToken::parse(&text).map_err(|error| CredentialError::lasting(error.to_string()))
///         })
///     }
/// }
/// # async fn ask_the_vault(_: &str) -> std::io::Result<String> { unreachable!() }
/// ```
pub trait Credential: Send + Sync + 'static {
    /// A token for `resource` that holds at `now`.
    ///
    /// Called before the first connection, and again when 80 % of the last token's life have gone. The client waits
    /// for it as long as for any other step ([`OPERATION_TIMEOUT`](crate::OPERATION_TIMEOUT)), then drops the future
    /// and asks again later.
    ///
    /// # Cancel safety
    /// The future is dropped at that time, or with the client's end, at whatever point it is, also where others share the
    /// client's [`Connection`](crate::Connection). It has to leave nothing half done.
    fn token<'a>(&'a self, resource: &'a Resource, now: UnixTime) -> TokenFuture<'a>;

    /// Whether another call gives a token that lives longer. If not, the one token is used until the hub refuses it.
    /// Default true.
    fn renews(&self) -> bool {
        true
    }
}

/// What [`Credential::token`] gives.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<SasToken, CredentialError>> + Send + 'a>>;

/// A shared access key that signs a token whenever one is needed.
///
/// # Delivery
/// Its tokens are renewed in place, long before they end, and no message waits or is lost for it.
///
/// # Cancel safety
/// It signs at once: its future is done when it is first polled, and dropping it leaves nothing undone.
#[derive(Debug, Clone)]
pub struct Key {
    signer: Signer,
    life: Duration,
}

impl Key {
    /// A device's or module's own key.
    #[must_use]
    pub fn new(key: SharedKey) -> Self {
        Self::signer(Signer::new(key))
    }

    /// With a policy, or a spelling of one's own.
    #[must_use]
    pub fn signer(signer: Signer) -> Self {
        Self {
            signer,
            life: TOKEN_LIFE,
        }
    }

    /// How long its tokens live. Default [`TOKEN_LIFE`]. Shorter limits what a stolen token is good for, and costs a
    /// renewal each time 80 % of it have gone; under a minute it leaves no time for a slow network.
    #[must_use]
    pub fn life(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }
}

impl Credential for Key {
    fn token<'a>(&'a self, resource: &'a Resource, now: UnixTime) -> TokenFuture<'a> {
        Box::pin(ready(Ok(self.signer.sign(resource.as_ref(), now + self.life))))
    }
}

/// One token, for as long as it holds.
impl Credential for SasToken {
    fn token<'a>(&'a self, _resource: &'a Resource, _now: UnixTime) -> TokenFuture<'a> {
        Box::pin(ready(Ok(self.clone())))
    }

    fn renews(&self) -> bool {
        false
    }
}

/// Why a credential gave no token.
///
/// # Delivery
/// Nothing was sent for want of a token. With a [passing](Self::passing) error the client asks again while messages
/// wait; with a [lasting](Self::lasting) one it ends, and they with it.
///
/// # Cancel safety
/// It speaks for the one call that it came of. A future that was dropped before gave none, and the client asks anew
/// when it needs a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialError {
    message: String,
    passing: bool,
}

impl CredentialError {
    /// Another try may help: a service that does not answer. The message is printed, so no secret may be in it.
    #[must_use]
    pub fn passing(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            passing: true,
        }
    }

    /// Another try can't help: the client gives up. The message is printed, so no secret may be in it.
    #[must_use]
    pub fn lasting(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            passing: false,
        }
    }

    /// Whether another try may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.passing
    }
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CredentialError {}

/// How long the tokens of a [`Key`] live. Default 1 h, as with every SDK of Microsoft's.
pub const TOKEN_LIFE: Duration = Duration::from_secs(60 * 60);
