//! Where tokens come from, and when a new one is due.

use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iothub_address::{PolicyName, Resource};
use iothub_sas::{Renewal, SasToken, SharedKey, Signer, UnixTime};
use tokio::sync::Mutex;

/// What gives a client its tokens: a [`PolicyKey`], one ready [`SasToken`], or the caller's own service.
///
/// # Examples
/// ```
/// use iothub_address::Resource;
/// use iothub_registry::{Credential, CredentialError, TokenFuture};
/// use iothub_sas::{SasToken, UnixTime};
///
/// /// Asks a service on this machine that holds the key.
/// struct Vault;
///
/// impl Credential for Vault {
///     fn token<'a>(&'a self, hub: &'a Resource, _now: UnixTime) -> TokenFuture<'a> {
///         Box::pin(async move {
///             let text = ask_the_vault(hub.as_str()).await.map_err(|error| CredentialError::new(error.to_string()))?;
///             SasToken::parse(&text).map_err(|error| CredentialError::new(error.to_string()))
///         })
///     }
/// }
/// # async fn ask_the_vault(_: &str) -> std::io::Result<String> { unreachable!() }
/// ```
pub trait Credential: Send + Sync + 'static {
    /// A token for the hub that holds at `now`.
    ///
    /// Called for the first request, again when 80 % of the token's life have gone, and when the hub refuses the token that
    /// was there. Calls that need one at the same time share it; the call's deadline counts on.
    ///
    /// # Cancel safety
    /// The future is dropped when the call that waits for it ends, at whatever point it is. It has to leave nothing half done.
    fn token<'a>(&'a self, hub: &'a Resource, now: UnixTime) -> TokenFuture<'a>;

    /// Whether another call gives another token. If not, the one token is used until the end. Default true.
    fn renews(&self) -> bool {
        true
    }
}

/// What [`Credential::token`] gives.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<SasToken, CredentialError>> + Send + 'a>>;

/// A policy's key, which signs a token whenever one is needed.
#[derive(Debug, Clone)]
pub struct PolicyKey {
    signer: Signer,
    life: Duration,
}

impl PolicyKey {
    /// The key of this policy.
    #[must_use]
    pub fn new(policy: &PolicyName, key: SharedKey) -> Self {
        Self {
            signer: Signer::new(key).policy(policy.as_str()),
            life: TOKEN_LIFE,
        }
    }

    /// How long its tokens live. Default [`TOKEN_LIFE`]. Shorter limits what a stolen token is good for, and costs a
    /// signature each time 80 % of it have gone.
    #[must_use]
    pub const fn life(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }
}

impl Credential for PolicyKey {
    fn token<'a>(&'a self, hub: &'a Resource, now: UnixTime) -> TokenFuture<'a> {
        Box::pin(ready(Ok(self.signer.sign(hub.as_ref(), now + self.life))))
    }
}

/// One token, for as long as it holds.
impl Credential for SasToken {
    fn token<'a>(&'a self, _hub: &'a Resource, _now: UnixTime) -> TokenFuture<'a> {
        Box::pin(ready(Ok(self.clone())))
    }

    fn renews(&self) -> bool {
        false
    }
}

/// Why a credential gave no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialError(String);

impl CredentialError {
    /// The message is printed, so no secret may be in it.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CredentialError {}

/// The token that is in use, and when it is to be replaced.
pub(crate) struct Tokens {
    credential: Box<dyn Credential>,
    hub: Resource,
    current: Mutex<Current>,
}

/// Whether a token was made just now: one that is refused then is refused for another reason than its age.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    New,
    Kept,
}

struct Current {
    renewal: Renewal,
    token: Option<(SasToken, UnixTime)>,
    /// Counts tokens, so that who was refused one knows whether there is another by now.
    number: u64,
}

impl Tokens {
    pub(crate) fn new(credential: Box<dyn Credential>, hub: Resource) -> Self {
        let seed = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        Self {
            credential,
            hub,
            current: Mutex::new(Current {
                renewal: Renewal::seeded(seed),
                token: None,
                number: 0,
            }),
        }
    }

    /// A token, its number, and whether it was there. `refused` is the number of one that the hub did not take.
    pub(crate) async fn get(&self, refused: Option<u64>) -> Result<(SasToken, u64, Age), CredentialError> {
        // Held while the credential is asked, so that it is asked once.
        let mut current = self.current.lock().await;
        let now = now();
        let number = current.number;
        if let Some((token, due)) = &current.token
            && (!self.credential.renews() || (now < *due && refused != Some(number)))
        {
            return Ok((token.clone(), number, Age::Kept));
        }
        let token = self.credential.token(&self.hub, now).await?;
        let due = current.renewal.pick(now, token.expires_at());
        current.number += 1;
        current.token = Some((token.clone(), due));
        Ok((token, current.number, Age::New))
    }

    pub(crate) fn renews(&self) -> bool {
        self.credential.renews()
    }
}

fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_duration_since_epoch(since)
}

/// How long the tokens of a [`PolicyKey`] live. Default 1 h, as with every SDK of Microsoft's.
pub const TOKEN_LIFE: Duration = Duration::from_secs(60 * 60);
