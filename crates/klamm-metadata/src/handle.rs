//! Where everyone finds the newest image, and who is told when there is one. Readers never wait:
//! they get the image as it was when they asked.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{Changes, MetadataImage};

/// The newest published image; a clone is the same place.
#[derive(Debug, Clone, Default)]
pub struct MetadataHandle(Arc<ArcSwap<MetadataImage>>);

impl MetadataHandle {
    /// Starts with an image.
    #[must_use]
    pub fn new(image: Arc<MetadataImage>) -> Self {
        Self(Arc::new(ArcSwap::new(image)))
    }

    /// The newest image.
    #[must_use]
    pub fn image(&self) -> Arc<MetadataImage> {
        self.0.load_full()
    }

    /// Makes an image the newest. Only the owner of the metadata does this.
    pub fn publish(&self, image: Arc<MetadataImage>) {
        self.0.store(image);
    }
}

/// Acts on new metadata: starts and stops partitions, applies configs, and so on.
pub trait Publisher: Send {
    /// There is a new image; returns when whoever waits for the change may rely on it.
    fn publish(&mut self, changes: &Changes, image: &Arc<MetadataImage>);
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::ProducerId;

    #[test]
    fn a_clone_sees_what_is_published_and_a_reader_keeps_what_it_has() {
        let handle = MetadataHandle::default();
        let (reader, before) = (handle.clone(), handle.image());
        let next = MetadataImage { next_producer_id: Some(ProducerId(7)), ..Default::default() };
        handle.publish(Arc::new(next));
        assert_eq!(reader.image().next_producer_id, Some(ProducerId(7)));
        assert_eq!(before.next_producer_id, None);
    }
}
