//! A queue whose next item can be seen before it is taken.

use tokio::sync::mpsc::UnboundedReceiver;

pub(super) struct Ahead<T> {
    queue: UnboundedReceiver<T>,
    seen: Option<T>,
}

impl<T> Ahead<T> {
    pub(super) const fn new(queue: UnboundedReceiver<T>) -> Self {
        Self { queue, seen: None }
    }

    /// The next item; `None` when no more will come. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<T> {
        match self.seen.take() {
            Some(item) => Some(item),
            None => self.queue.recv().await,
        }
    }

    /// The next item, if it is there and is such a one.
    pub(super) fn next_if(&mut self, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        let next = self.seen.take().or_else(|| self.queue.try_recv().ok())?;
        if wanted(&next) {
            return Some(next);
        }
        self.seen = Some(next);
        None
    }

    /// Takes no more in, and gives what is there.
    pub(super) fn close(&mut self) -> impl Iterator<Item = T> {
        self.queue.close();
        std::iter::from_fn(|| self.next_if(|_| true))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_was_seen_and_not_wanted_stays_the_next() {
        let (items, queue) = mpsc::unbounded_channel();
        let mut ahead = Ahead::new(queue);
        [1, 2, 3, 4]
            .into_iter()
            .for_each(|item| items.send(item).unwrap());
        assert_eq!(ahead.next_if(|item| *item == 2), None);
        assert_eq!(ahead.next().await, Some(1));
        assert_eq!(ahead.next_if(|item| *item == 2), Some(2));
        assert_eq!(ahead.next_if(|item| *item == 2), None);
        assert_eq!(ahead.close().collect::<Vec<_>>(), [3, 4]);
        assert!(items.send(5).is_err());
        assert_eq!(ahead.next().await, None);
    }
}
