use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// Gives values for fields, from a seed.
pub(super) struct Values(pub(super) u64);

impl Values {
    /// xorshift64.
    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[(self.draw() % choices.len() as u64) as usize]
    }

    pub(super) fn bit(&mut self) -> bool {
        self.draw() >> 63 == 1
    }

    pub(super) fn octet(&mut self) -> u8 {
        self.draw() as u8
    }

    pub(super) fn short(&mut self) -> u16 {
        self.draw() as u16
    }

    pub(super) fn long(&mut self) -> u32 {
        self.draw() as u32
    }

    pub(super) fn long_long(&mut self) -> u64 {
        self.draw()
    }

    pub(super) fn name(&mut self) -> &'static str {
        const LONG: &str = match std::str::from_utf8(&[b'n'; 255]) {
            Ok(name) => name,
            Err(_) => "",
        };
        self.one_of(&["", "q", "amq.direct", "mañana", LONG])
    }

    pub(super) fn short_string(&mut self) -> &'static [u8] {
        self.one_of(&[b"", b"a.b.c", b"\xff\x00", &[7; 255]])
    }

    pub(super) fn long_string(&mut self) -> &'static [u8] {
        self.one_of(&[b"", b"\0guest\0guest", b"\xff", &[9; 1000]])
    }

    pub(super) fn table(&mut self) -> RawTable<'static> {
        RawTable(self.one_of(&[b"", b"\x01kt\x01", b"\x01a\x49\x00\x00\x00\x05\x01bV"]))
    }
}

fn encoded(method: &Method<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    method.encode(0x1234, &mut out);
    out
}

fn payload(frame: &[u8]) -> &[u8] {
    let frame = frame::next(frame, 0).unwrap().unwrap();
    assert_eq!((frame.kind, frame.channel), (FrameType::Method, 0x1234));
    frame.payload
}

#[test]
fn the_table_is_complete() {
    let all = one_of_each(&mut Values(1));
    assert_eq!(all.len(), 14 + 6 + 2 + 8 + 10 + 18 + 2 + 6, "by class");
    assert_eq!(
        all.iter().map(Method::ids).collect::<HashSet<_>>().len(),
        all.len()
    );
    assert_eq!(
        all.iter().map(Method::name).collect::<HashSet<_>>().len(),
        all.len()
    );
    let with_content: Vec<_> = all
        .iter()
        .filter(|method| method.has_content())
        .map(Method::name)
        .collect();
    assert_eq!(
        with_content,
        [
            "basic.publish",
            "basic.return",
            "basic.deliver",
            "basic.get-ok"
        ]
    );
}

#[test]
fn methods_have_their_octets() {
    let check = |method: Method<'_>, octets: &[u8]| {
        assert_eq!(payload(&encoded(&method)), octets, "{}", method.name());
        assert_eq!(Method::decode(octets), Ok(method));
    };
    let declare = QueueDeclare {
        queue: "q",
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        no_wait: true,
        arguments: RawTable(b"\x01kV"),
    };
    check(
        declare.into(),
        b"\x00\x32\x00\x0a\x00\x00\x01q\x12\x00\x00\x00\x03\x01kV",
    );
    let publish = BasicPublish {
        exchange: "ex",
        routing_key: b"key",
        mandatory: true,
        immediate: false,
    };
    check(publish.into(), b"\x00\x3c\x00\x28\x00\x00\x02ex\x03key\x01");
    let tune = ConnectionTune {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 60,
    };
    check(
        tune.into(),
        b"\x00\x0a\x00\x1e\x07\xff\x00\x02\x00\x00\x00\x3c",
    );
    check(
        ConnectionOpen { virtual_host: "/" }.into(),
        b"\x00\x0a\x00\x28\x01/\x00\x00",
    );
    check(ChannelOpenOk {}.into(), b"\x00\x14\x00\x0b\x00\x00\x00\x00");
    check(ExchangeUnbindOk {}.into(), b"\x00\x28\x00\x33");
    let nack = BasicNack {
        delivery_tag: 5,
        multiple: false,
        requeue: true,
    };
    check(
        nack.into(),
        b"\x00\x3c\x00\x78\x00\x00\x00\x00\x00\x00\x00\x05\x02",
    );
}

#[test]
fn reserved_fields_may_hold_anything() {
    let open = Method::decode(b"\x00\x0a\x00\x28\x01/\x03cap\x01");
    assert_eq!(open, Ok(ConnectionOpen { virtual_host: "/" }.into()));
    let get = Method::decode(b"\x00\x3c\x00\x46\x00\x65\x01q\xff");
    assert_eq!(
        get,
        Ok(BasicGet {
            queue: "q",
            no_ack: true
        }
        .into())
    );
}

#[test]
fn what_is_not_a_method_is_refused() {
    let check = |payload: &[u8], error| assert_eq!(Method::decode(payload), Err(error));
    check(b"", MethodError::Truncated);
    check(b"\x00\x32\x00", MethodError::Truncated);
    check(
        b"\x00\x32\x00\x0c",
        MethodError::Unknown {
            class: 50,
            method: 12,
        },
    );
    check(
        b"\x00\x28\x00\x29",
        MethodError::Unknown {
            class: 40,
            method: 41,
        },
    );
    check(
        b"\x00\x3c\x00\xc8",
        MethodError::Unknown {
            class: 60,
            method: 200,
        },
    );
    check(b"\x00\x28\x00\x33!", MethodError::Trailing);
    check(b"\x00\x3c\x00\x1f\x02\xff\xfe", MethodError::NotUtf8);
}

proptest! {
    #[test]
    fn every_method_comes_back(seed in 1_u64..) {
        for method in one_of_each(&mut Values(seed)) {
            let frame = encoded(&method);
            let payload = payload(&frame);
            prop_assert_eq!(Method::decode(payload), Ok(method));
            let trailing = [payload, b"\0"].concat();
            prop_assert_eq!(Method::decode(&trailing), Err(MethodError::Trailing));
            for cut in 0..payload.len() {
                let refused = Method::decode(&payload[..cut]);
                prop_assert_eq!(refused, Err(MethodError::Truncated), "{} at {}", method.name(), cut);
            }
        }
    }

    #[test]
    fn any_octets_are_read_without_panic(
        class in 0_u16..100, method in 0_u16..130,
        arguments in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let ids = [class.to_be_bytes(), method.to_be_bytes()].concat();
        if let Ok(decoded) = Method::decode(&[&*ids, &*arguments].concat()) {
            prop_assert_eq!(decoded.ids(), (class, method));
        }
    }
}
