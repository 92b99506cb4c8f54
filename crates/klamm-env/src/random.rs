//! Randomness as a trait, so that a simulation can repeat itself.

use std::fmt::Debug;

use klamm_model::Uuid;

/// A source of random bits.
pub trait Random: Send + Sync + Debug {
    /// 64 random bits.
    fn bits(&self) -> u64;

    /// A random id that Kafka would use too.
    fn uuid(&self) -> Uuid {
        loop {
            let bits = (u128::from(self.bits()) << 64) | u128::from(self.bits());
            if let Some(id) = Uuid::from_random(bits) {
                return id;
            }
        }
    }
}
