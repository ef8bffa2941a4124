//! RabbitMQ's six programs. One binary answers to all of their names.

/// A program of RabbitMQ. The same command may belong to several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Ctl,
    Diagnostics,
    Queues,
    Streams,
    Plugins,
    Upgrade,
}

pub(crate) const ALL: [Tool; 6] = [
    Tool::Ctl,
    Tool::Diagnostics,
    Tool::Queues,
    Tool::Streams,
    Tool::Plugins,
    Tool::Upgrade,
];

impl Tool {
    /// The program that a path such as `/usr/sbin/rabbitmqctl` names, if it is one of RabbitMQ's.
    #[must_use]
    pub fn of_program(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?;
        ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// The program that a sub-command of `leveret` stands for: `ctl`, `diagnostics`, …
    #[must_use]
    pub fn of_subcommand(word: &str) -> Option<Self> {
        let named = |tool: &Self| {
            tool.name()
                .trim_start_matches("rabbitmq")
                .trim_start_matches('-')
                == word
        };
        ALL.into_iter().find(named)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ctl => "rabbitmqctl",
            Self::Diagnostics => "rabbitmq-diagnostics",
            Self::Queues => "rabbitmq-queues",
            Self::Streams => "rabbitmq-streams",
            Self::Plugins => "rabbitmq-plugins",
            Self::Upgrade => "rabbitmq-upgrade",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_have_names() {
        assert_eq!(Tool::of_program("/usr/sbin/rabbitmqctl"), Some(Tool::Ctl));
        assert_eq!(Tool::of_program("rabbitmq-plugins"), Some(Tool::Plugins));
        assert_eq!(Tool::of_program("target/debug/leveret"), None);
        assert_eq!(Tool::of_program("rabbitmq-"), None);
        assert_eq!(Tool::of_subcommand("ctl"), Some(Tool::Ctl));
        assert_eq!(Tool::of_subcommand("diagnostics"), Some(Tool::Diagnostics));
        assert_eq!(Tool::of_subcommand("run"), None);
    }
}
