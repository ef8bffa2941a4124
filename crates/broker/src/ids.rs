//! Small integers that stand for named things inside the node. Names stay at the doors.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);
    };
}

id! {
    /// A virtual host, given by the catalogue and never used again after its deletion.
    VhostId(u32)
}
id! {
    /// A queue, given by the catalogue and never used again after its deletion.
    QueueId(u32)
}
id! {
    /// An exchange, given by the catalogue and never used again after its deletion.
    ExchangeId(u32)
}
id! {
    /// A consumer of one queue: the slot that the queue's driver keeps its subscriber in.
    ConsumerId(u32)
}
id! {
    /// One message handed out by one queue and not settled yet. Opaque to everyone but that queue.
    DeliveryId(u64)
}
id! {
    /// A message in the log. Ascending in the order of the log; `MessageId::NONE` for one that is not stored.
    MessageId(u64)
}
id! {
    /// A page of the log: a run of waiting messages of one queue.
    PageId(u64)
}
id! {
    /// A client's session on one connection (an AMQP 0-9-1 channel): what unsettled deliveries belong to.
    SessionId(u64)
}

impl MessageId {
    /// Not in the log: transient, or in a queue that does not survive a restart.
    pub const NONE: Self = Self(0);

    /// Whether the message has a record in the log.
    pub fn is_stored(self) -> bool {
        self != Self::NONE
    }
}
