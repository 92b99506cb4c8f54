//! The commands, one file each. Each has `Arguments` and `run`; an error is one line for a person.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod consume;
pub(crate) mod demo;
pub(crate) mod group;
pub(crate) mod log;
pub(crate) mod produce;
pub(crate) mod start;
pub(crate) mod storage;
pub(crate) mod topic;
pub(crate) mod transaction;

use klamm_client::ClientError;

/// What a command gives back: nothing, or why it failed.
pub(crate) type Outcome = Result<(), Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// One line that says what happened and what to do.
    Told(String),
    /// What was asked for was done, and something is wrong: the output says what.
    Found,
    /// It could not be done at all: one line that says why.
    CannotRun(String),
    /// Who read our output has gone: that is their right, and nothing is said.
    BrokenPipe,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Told(text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self::Told(text.to_owned())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Told(error.to_string()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        use klamm_model::ErrorCode;
        let cure = match (&error, error.code()) {
            (ClientError::Unreachable { .. }, _) => {
                "; is the broker running there? 'klamm start' starts one, -b names another"
            }
            (_, Some(ErrorCode::UnknownTopicOrPartition)) => {
                "; 'klamm topic list' shows what there is, 'klamm topic create' makes one"
            }
            (_, Some(ErrorCode::TopicAlreadyExists)) => "; --if-not-exists takes that as success",
            (_, Some(ErrorCode::GroupIdNotFound)) => "; 'klamm group list' shows what there is",
            (_, Some(ErrorCode::TransactionalIdNotFound)) => {
                "; 'klamm transaction list' shows what there is"
            }
            (_, Some(ErrorCode::NonEmptyGroup)) => "; stop its members first",
            _ => "",
        };
        Self::Told(format!("{error}{cure}"))
    }
}
