//! Appends that a log refuses, as a seed says: one, or all for a while. Never lets half of one in.

use klamm_model::{ErrorCode, Timestamp};

use crate::random::Seeded;

/// What a log may say: it is not the leader (any more), its disk failed, its replicas are too few,
/// or the batch is larger than the topic allows.
const CODES: [ErrorCode; 5] = [
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::KafkaStorageError,
    ErrorCode::NotEnoughReplicas,
    ErrorCode::RecordListTooLarge,
    ErrorCode::MessageTooLarge,
];
/// A while is at most so long.
const WHILE_MS: i64 = 500;

/// What is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The next append.
    Next(ErrorCode),
    /// Every append before this time.
    Until(ErrorCode, Timestamp),
}

impl Refusal {
    pub(super) fn random(random: &mut Seeded, now: Timestamp) -> Self {
        let code = *random.pick(&CODES);
        match random.one_in(2) {
            true => Self::Next(code),
            false => Self::Until(code, Timestamp(now.0 + random.between(20, WHILE_MS))),
        }
    }

    /// What an append at this time hears, and what the ones after it will.
    pub(super) fn at(self, now: Timestamp) -> (Option<ErrorCode>, Option<Self>) {
        match self {
            Self::Next(code) => (Some(code), None),
            Self::Until(code, until) if now < until => (Some(code), Some(self)),
            Self::Until(..) => (None, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: ErrorCode = ErrorCode::KafkaStorageError;

    #[test]
    fn one_append_is_refused_or_all_of_them_for_a_while() {
        assert_eq!(Refusal::Next(CODE).at(Timestamp(7)), (Some(CODE), None));
        let lasting = Refusal::Until(CODE, Timestamp(9));
        assert_eq!(lasting.at(Timestamp(8)), (Some(CODE), Some(lasting)));
        assert_eq!(lasting.at(Timestamp(9)), (None, None));
    }
}
