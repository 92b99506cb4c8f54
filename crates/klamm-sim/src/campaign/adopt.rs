//! What survived a life of the process, and whether it may have.

use std::sync::Arc;

use klamm_log::Log;

use super::finding::{Finding, ensure};
use super::model::{Interrupted, Model};

/// The model takes over what survived, if it is allowed to have.
pub(super) fn adopt(log: &Log, model: &mut Model) -> Finding {
    let view = Arc::clone(log.view());
    let (start, end) = (view.log_start_offset().0, view.log_end_offset().0);
    if let Interrupted::StartingAnew(offset) = model.interrupted {
        model.interrupted = Interrupted::No;
        let is_fresh = view.segment_bases().first() == Some(&view.log_start_offset());
        let is_empty = start == end && is_fresh && log.producers().is_empty();
        if is_empty && (start == offset || start == model.start_min) {
            model.start_anew(start);
            // Nobody was told, so it may be gone again.
            model.acked = 0;
            return Ok(());
        }
        // Nothing of it was promised any more: any part without a gap may be left.
        model.acked = model.acked.min(end);
        model.start_max = model.start_max.max(end);
    }
    ensure(start >= model.start_min, || {
        format!("the log starts at {start}, although {} was durable", model.start_min)
    })?;
    ensure(start <= model.start_max, || {
        format!("the log starts at {start}, although nobody deleted above {}", model.start_max)
    })?;
    ensure(end >= model.acked, || {
        format!("the log ends at {end}, although {} was acknowledged", model.acked)
    })?;
    ensure(end <= model.end, || {
        format!("the log ends at {end}, although it never went beyond {}", model.end)
    })?;
    model.cut_to(end);
    (model.start, model.start_max) = (start, start);
    ensure(view.synced_offset().0 <= model.synced_max.max(start), || {
        format!("{} counts as synced, and only {} was", view.synced_offset(), model.synced_max)
    })
}
