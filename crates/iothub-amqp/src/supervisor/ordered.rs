//! A map for what comes in order and goes in nearly that order, such as numbered messages.

use std::cmp::Ordering;
use std::collections::VecDeque;

/// A sorted queue. What is put in at the end, found by a number without gaps, or taken out near either end, costs next to
/// nothing; elsewhere an entry costs the moving of those on its shorter side, so it is for what has a bound.
#[derive(Debug, Clone)]
pub(super) struct Ordered<K, V> {
    entries: VecDeque<(K, V)>,
}

impl<K: Ord + Copy, V> Ordered<K, V> {
    /// False if there was one by this key, which then stays.
    pub(super) fn insert(&mut self, key: K, value: V) -> bool {
        if self.entries.back().is_none_or(|(last, _)| *last < key) {
            self.entries.push_back((key, value));
            return true;
        }
        match self.place(key) {
            Ok(_) => false,
            Err(at) => {
                self.entries.insert(at, (key, value));
                true
            }
        }
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let at = self.place(key).ok()?;
        self.entries.remove(at).map(|(_, value)| value)
    }

    pub(super) fn pop_first(&mut self) -> Option<(K, V)> {
        self.entries.pop_front()
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let at = self.place(key).ok()?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        let at = self.place(key).ok()?;
        self.entries.get(at).map(|(_, value)| value)
    }

    pub(super) fn contains(&self, key: K) -> bool {
        self.place(key).is_ok()
    }

    pub(super) fn first(&self) -> Option<(K, &V)> {
        self.entries.front().map(|(key, value)| (*key, value))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.entries.iter().map(|(key, value)| (*key, value))
    }

    /// Those from this key on.
    pub(super) fn from(&self, key: K) -> impl Iterator<Item = (K, &V)> {
        let (Ok(at) | Err(at)) = self.place(key);
        self.entries.range(at..).map(|(key, value)| (*key, value))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn place(&self, key: K) -> Result<usize, usize> {
        // Outcomes come in order, and what has one is looked for among those behind it too.
        let first = self.entries.front().map(|(first, _)| *first);
        match first.map(|first| key.cmp(&first)) {
            None | Some(Ordering::Less) => Err(0),
            Some(Ordering::Equal) => Ok(0),
            Some(Ordering::Greater) => self.entries.binary_search_by_key(&key, |(key, _)| *key),
        }
    }
}

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
        }
    }
}

impl<K, V> IntoIterator for Ordered<K, V> {
    type Item = (K, V);
    type IntoIter = std::collections::vec_deque::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u8),
        Remove(u8),
        PopFirst,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u8>().prop_map(Step::Insert),
            any::<u8>().prop_map(Step::Remove),
            Just(Step::PopFirst),
        ]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_tree_holds(steps in prop::collection::vec(step(), 0..200), from: u8) {
            let (mut ordered, mut tree) = (Ordered::default(), BTreeMap::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(key) => {
                        let is_new = !tree.contains_key(&key);
                        tree.entry(key).or_insert(number);
                        prop_assert_eq!(ordered.insert(key, number), is_new);
                    }
                    Step::Remove(key) => prop_assert_eq!(ordered.remove(key), tree.remove(&key)),
                    Step::PopFirst => prop_assert_eq!(ordered.pop_first(), tree.pop_first()),
                }
                prop_assert_eq!(ordered.first(), tree.first_key_value().map(|(key, value)| (*key, value)));
                prop_assert_eq!(ordered.len(), tree.len());
            }
            for key in 0..=u8::MAX {
                prop_assert_eq!(ordered.get(key), tree.get(&key));
                prop_assert_eq!(ordered.get_mut(key), tree.get_mut(&key));
                prop_assert_eq!(ordered.contains(key), tree.contains_key(&key));
            }
            prop_assert!(ordered.from(from).eq(tree.range(from..).map(|(key, value)| (*key, value))));
            prop_assert!(ordered.iter().eq(tree.iter().map(|(key, value)| (*key, value))));
            prop_assert_eq!(ordered.is_empty(), tree.is_empty());
            prop_assert!(ordered.into_iter().eq(tree));
        }
    }
}
