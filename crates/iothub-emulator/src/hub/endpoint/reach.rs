//! What of a hub the holder of a policy's key may come to.

/// The whole hub, or a part of its event endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// All of it.
    Hub,
    /// The event endpoint's paths from this one on, in small letters; all of them if it is empty.
    Events(String),
}

impl Reach {
    /// The path at the event endpoint.
    pub(crate) fn events(path: &str) -> Self {
        Self::Events(path.to_ascii_lowercase())
    }

    /// Whether who may come here may come there: whole segments of a path count.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hub, _) => true,
            (Self::Events(_), Self::Hub) => false,
            (Self::Events(own), Self::Events(path)) => path
                .strip_prefix(own.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reaches_what_is_below_it_and_nothing_beside() {
        let partition = Reach::events("/myhub/ConsumerGroups/$Default/Partitions/1");
        for (own, covers) in [
            (Reach::Hub, true),
            (Reach::events(""), true),
            (Reach::events("/MyHub"), true),
            (Reach::events("/myhub/consumergroups/$default/partitions/1"), true),
            (
                Reach::events("/myhub/consumergroups/$default/partitions/10"),
                false,
            ),
            (Reach::events("/myhub/consumergroups/$default/partitions/"), false),
            (Reach::events("/my"), false),
            (Reach::events("/myhub/$management"), false),
        ] {
            assert_eq!(own.covers(&partition), covers, "{own:?}");
        }
        assert!(!Reach::events("").covers(&Reach::Hub));
    }
}
