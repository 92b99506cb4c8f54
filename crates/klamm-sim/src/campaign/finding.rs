//! How checks say what they found, and how they read.

use klamm_env::FileSlice;
use klamm_log::{AtLeastOne, Limits, LogView};
use klamm_model::Offset;

use super::model::Model;

/// What a check found, in one sentence.
pub(crate) type Finding = Result<(), String>;

pub(crate) fn ensure(is_true: bool, what: impl FnOnce() -> String) -> Finding {
    if is_true { Ok(()) } else { Err(what()) }
}

pub(super) fn equal<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &T,
    expected: &T,
) -> Finding {
    ensure(found == expected, || format!("{what}: {found:?} instead of {expected:?}"))
}

pub(super) fn limits(bytes_max: u32, model: &Model) -> Limits {
    Limits { bytes_max, at_least_one: AtLeastOne::Batch, upper: Offset(model.end) }
}

pub(super) fn read(view: &LogView, offset: i64, limits: Limits) -> Result<Vec<u8>, String> {
    let read = view.read(Offset(offset), limits).map_err(|e| format!("read at {offset}: {e}"))?;
    let slice: Option<FileSlice> = read.slice;
    slice.map_or(Ok(Vec::new()), |slice| {
        slice.read().map_err(|e| format!("read of the slice at {offset}: {e}"))
    })
}
