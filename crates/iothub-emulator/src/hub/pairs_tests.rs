//! What waits for the other link of a pair, with no wire.

use super::*;
use crate::hub::tests::World;
use crate::hub::{Answer, Command, Side, Terms};

const TWIN: &str = "/devices/device1/twin";

impl World {
    fn half(&mut self, side: Side, pair: &str) -> LinkId {
        let terms = Terms {
            pair: pair.to_owned(),
            ..Terms::default()
        };
        let opened = self.ask(1, |reply| Command::OpenLink {
            link: reply,
            address: TWIN.to_owned(),
            side,
            terms,
            reply,
        });
        assert!(matches!(opened, Answer::Link(Ok(_))), "{opened:?}");
        self.replies
    }

    /// Asks for the twin; gives the link that the hub ends for it.
    fn read_twin(&mut self, link: LinkId) -> Option<LinkId> {
        self.replies += 1;
        let message = Message {
            annotations: vec![("operation".to_owned(), "GET".into())],
            ..Message::default()
        };
        let command = Command::Request {
            link,
            message: Box::new(message),
            reply: self.replies,
        };
        self.hub.handle(1, command, self.now);
        let effects: Vec<_> = std::iter::from_fn(|| self.hub.poll_effect()).collect();
        effects.iter().find_map(|effect| match effect {
            Effect::Detach(link, why) => {
                assert_eq!(why.condition, Condition::ResourceLimitExceeded);
                Some(*link)
            }
            _ => None,
        })
    }

    fn count_sent(&mut self) -> usize {
        let effects = std::iter::from_fn(|| self.hub.poll_effect());
        effects
            .filter(|effect| matches!(effect, Effect::Send(..)))
            .count()
    }
}

#[test]
fn what_waits_for_links_is_counted_over_all_pairs_of_a_connection() {
    let mut world = World::new();
    world.admitted(1, "device1");
    let (one, other) = (world.half(Side::Sender, "one"), world.half(Side::Sender, "other"));
    for _ in 0..MAX_EARLY / 2 {
        assert_eq!(world.read_twin(one), None);
        assert_eq!(world.read_twin(other), None);
    }
    assert_eq!(world.read_twin(other), Some(other), "one more");
    // What has gone out makes room, and so does what is forgotten with its pair.
    world.half(Side::Receiver, "one");
    assert_eq!(world.count_sent(), MAX_EARLY / 2);
    for _ in 0..MAX_EARLY / 2 {
        assert_eq!(world.read_twin(other), None);
    }
    assert_eq!(world.read_twin(other), Some(other));
    world.hub.handle(1, Command::LinkGone { link: other }, world.now);
    let again = world.half(Side::Sender, "other");
    for _ in 0..MAX_EARLY {
        assert_eq!(world.read_twin(again), None);
    }
    assert_eq!(world.read_twin(again), Some(again));
}
