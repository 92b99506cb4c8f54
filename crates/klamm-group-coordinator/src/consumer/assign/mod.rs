//! Who is to have which partition: pure functions from members and topics to a target.
//!
//! Racks are not looked at, as in Kafka since 4.0 (KIP-1101 keeps them in the metadata's hash
//! only).

mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use klamm_model::{PartitionIndex, TopicId};
use klamm_stdx::Str;

use super::partitions::Partitions;

/// A server-side assignor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// All partitions evenly, with as few moves as possible (Kafka: `UniformAssignor`).
    Uniform,
    /// Neighbouring partitions of each topic, the same of each to the same member (Kafka:
    /// `RangeAssignor`).
    Range,
}

impl Assignor {
    /// By Kafka's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The target of each member, in the order of the members.
    #[must_use]
    pub fn assign(self, spec: &Spec<'_>) -> Vec<Partitions> {
        match self {
            Self::Uniform => uniform::assign(spec),
            Self::Range => range::assign(spec),
        }
    }
}

/// What is to be divided among whom.
#[derive(Debug, Clone, Default)]
pub struct Spec<'a> {
    /// Topics that exist, with how many partitions they have.
    pub topics: BTreeMap<TopicId, PartitionIndex>,
    /// Each set of topics that some member reads, once; only topics that exist.
    pub subscriptions: Vec<BTreeSet<TopicId>>,
    /// The members, in the order of their ids.
    pub members: Vec<MemberSpec<'a>>,
}

/// A member, as an assignor sees it.
#[derive(Debug, Clone)]
pub struct MemberSpec<'a> {
    /// Its id.
    pub member_id: &'a Str,
    /// Of a static member.
    pub instance_id: Option<&'a Str>,
    /// Which of [`Spec::subscriptions`] is its own.
    pub subscription: usize,
    /// What it was to have until now.
    pub target: Option<&'a Partitions>,
}

impl Spec<'_> {
    /// What a member reads.
    fn topics_of(&self, member: usize) -> &BTreeSet<TopicId> {
        &self.subscriptions[self.members[member].subscription]
    }
}
