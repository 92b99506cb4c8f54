//! Golden bytes.
use super::jars::Source;
use std::path::Path;
pub(crate) fn write(_: &Path, _: &Path, _: &[Source]) -> Result<(), String> {
    Ok(())
}
