//! The topics of an answer, found by name: in one step however many a request names.

use std::collections::HashMap;

use klamm_stdx::Str;

/// Topics in the order in which they came.
pub(crate) struct ByTopic<T> {
    topics: Vec<T>,
    /// Of each name the first.
    places: HashMap<Str, usize>,
}

impl<T> Default for ByTopic<T> {
    fn default() -> Self {
        Self { topics: Vec::new(), places: HashMap::new() }
    }
}

impl<T> ByTopic<T> {
    /// Adds one, even if there is one of that name.
    pub(crate) fn push(&mut self, name: Str, topic: T) {
        self.places.entry(name).or_insert(self.topics.len());
        self.topics.push(topic);
    }

    /// The first one of that name; if there is none, it is made.
    pub(crate) fn get_or_push(&mut self, name: Str, make: impl FnOnce(Str) -> T) -> &mut T {
        let place = match self.places.get(&name) {
            Some(place) => *place,
            None => {
                self.push(name.clone(), make(name));
                self.topics.len() - 1
            }
        };
        &mut self.topics[place]
    }

    pub(crate) fn into_topics(self) -> Vec<T> {
        self.topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_keep_their_order_and_the_first_of_a_name_is_found() {
        let name = Str::from;
        let mut topics = ByTopic::default();
        for (index, topic) in ["b", "a", "b"].into_iter().enumerate() {
            topics.push(name(topic), vec![index]);
        }
        topics.get_or_push(name("b"), |_| unreachable!()).push(7);
        topics.get_or_push(name("c"), |_| Vec::new()).push(8);
        topics.get_or_push(name("c"), |_| unreachable!()).push(9);
        assert_eq!(topics.into_topics(), [vec![0, 7], vec![1], vec![2], vec![8, 9]]);
    }
}
