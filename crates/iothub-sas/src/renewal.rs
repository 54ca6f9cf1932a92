//! When to renew.

use crate::UnixTime;

/// Picks the time to renew a token: at a share of its life, spread at random so that a fleet that started together
/// does not renew together.
///
/// A state machine without a clock: it names a time, the caller waits for it. The dice are its own and seeded, so that
/// the same seed gives the same times.
///
/// # Examples
///
/// ```
/// use core::time::Duration;
/// use iothub_sas::{Renewal, UnixTime};
///
/// let now = UnixTime::from_secs(1_700_000_000);
/// let mut renewal = Renewal::seeded(42);
/// let at = renewal.pick(now, now + Duration::from_secs(3600));
/// assert!((2700..=3060).contains(&at.saturating_duration_since(now).as_secs()));
/// ```
#[derive(Clone, Debug)]
pub struct Renewal {
    percent: u8,
    jitter: u8,
    dice: u64,
}

impl Renewal {
    /// At 80 % of a token's life, as the C SDK (C# renews at 85 %, Java at 85 %, Node at 75 % of an hour).
    pub const DEFAULT_PERCENT: u8 = 80;
    /// Up to 5 % of the life earlier or later.
    pub const DEFAULT_JITTER_PERCENT: u8 = 5;

    /// The default share and jitter. The seed should differ from device to device.
    pub const fn seeded(seed: u64) -> Self {
        Self {
            percent: Self::DEFAULT_PERCENT,
            jitter: Self::DEFAULT_JITTER_PERCENT,
            dice: seed,
        }
    }

    /// The share of the token's life after which to renew, in percent; above 100 counts as 100. Default 80. Higher
    /// renews less often and leaves less time to try again.
    #[must_use]
    pub const fn percent(mut self, percent: u8) -> Self {
        self.percent = percent;
        self
    }

    /// How far the time may lie before or after that share, in percent of the token's life. Default 5. Higher spreads
    /// a fleet wider; 0 is exact.
    #[must_use]
    pub const fn jitter_percent(mut self, percent: u8) -> Self {
        self.jitter = percent;
        self
    }

    /// When to renew a token that lives from `issued` to `expires`: never before `issued`, never after `expires`, and
    /// `issued` itself if the token never lived. Each call throws the dice anew.
    pub fn pick(&mut self, issued: UnixTime, expires: UnixTime) -> UnixTime {
        let life = expires.saturating_duration_since(issued).as_secs();
        let percent = self.percent.min(100);
        let earliest = share(life, percent.saturating_sub(self.jitter));
        let latest = share(life, percent.saturating_add(self.jitter).min(100));
        let spread = u128::from(latest - earliest) + 1;
        // The high half of the product is uniform over 0..spread, but for a bias of at most spread in 2^64.
        let offset = (u128::from(self.throw()) * spread) >> 64;
        UnixTime::from_secs(issued.as_secs() + earliest + offset as u64)
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014): nothing secret hangs on these dice.
    fn throw(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.dice;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

fn share(life: u64, percent: u8) -> u64 {
    (u128::from(life) * u128::from(percent) / 100) as u64
}

#[cfg(test)]
mod tests {
    use super::Renewal;

    #[test]
    fn the_dice_are_splitmix64() {
        // The first numbers for seed 1234567, from Rosetta Code, "Pseudo-random numbers/Splitmix64".
        let mut renewal = Renewal::seeded(1_234_567);
        let thrown = [renewal.throw(), renewal.throw(), renewal.throw()];
        assert_eq!(
            thrown,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }
}
