//! The commands, one file each. Each has `Arguments` and `run`; an error is one line for a person.

pub(crate) mod start;

/// What a command gives back: nothing, or one line that says what happened and what to do.
pub(crate) type Outcome = Result<(), String>;
