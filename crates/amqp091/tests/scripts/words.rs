//! The words of scripts: what clients say, as frames, and frames from the server, as lines.

use leveret_amqp091::content;
use leveret_amqp091::content_header::ContentHeader;
use leveret_amqp091::frame::{self, FrameType};
use leveret_amqp091::method::{self, Method, RawTable};
use leveret_amqp091::protocol_header;
use leveret_broker::properties::PropertiesBuf;
use leveret_broker::table::{Table, Value};

/// The words behind the verb: plain ones in order, `name=value`s, and flags.
struct Words<'a>(&'a [&'a str]);

impl<'a> Words<'a> {
    /// The `n`th word; `-` stands for the empty one.
    fn at(&self, n: usize) -> &'a str {
        match self.0[n] {
            "-" => "",
            word => word,
        }
    }

    fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, n: usize) -> T {
        self.0[n].parse().unwrap()
    }

    fn has(&self, flag: &str) -> bool {
        self.0.contains(&flag)
    }

    fn named(&self, name: &str) -> Option<&'a str> {
        let found = self
            .0
            .iter()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.map(|value| if value == "-" { "" } else { value })
    }

    fn limit<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, name: &str, default: T) -> T {
        self.named(name)
            .map_or(default, |value| value.parse().unwrap())
    }

    /// The `name=value`s whose names are none of `known`, as a table without its length.
    fn arguments(&self, known: &[&str]) -> Vec<u8> {
        let pairs = self.0.iter().filter_map(|word| word.split_once('='));
        let table: Table = pairs
            .filter(|(name, _)| !known.contains(name))
            .map(|(name, word)| (Box::from(name), value(word)))
            .collect();
        raw(&table)
    }
}

pub(crate) fn value(word: &str) -> Value {
    match word.parse::<i64>() {
        Ok(number) => Value::I64(number),
        Err(_) if word == "-" => Value::String([].into()),
        Err(_) => Value::String(word.as_bytes().into()),
    }
}

fn raw(table: &Table) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.encode(&mut bytes);
    bytes.split_off(4)
}

/// `x*5` is xxxxx.
fn body(word: &str) -> Vec<u8> {
    match word.split_once('*') {
        Some((piece, count)) => piece.repeat(count.parse().unwrap()).into_bytes(),
        None if word == "-" => Vec::new(),
        None => word.as_bytes().to_vec(),
    }
}

/// Appends the frames for something a client does on a channel.
pub(crate) fn say(doing: &[&str], channel: u16, out: &mut Vec<u8>) {
    let words = Words(&doing[1..]);
    match doing[0] {
        "header" => return out.extend_from_slice(&protocol_header::AMQP_0_9_1),
        "bytes" => return out.extend(hex(words.0)),
        "heartbeat" => return out.extend_from_slice(&frame::HEARTBEAT),
        "publish" => return publish(&words, channel, out),
        "begin" => return begin(&words, channel, out),
        "content" => return content(&words, channel, out),
        _ => {}
    }
    let arguments = words.arguments(&[]);
    let arguments = RawTable(&arguments);
    let start;
    let response;
    let send: Method<'_> = match doing[0] {
        "start-ok" => {
            let capabilities = words.0[2..].iter().filter(|word| !word.contains('='));
            let capabilities: Table = capabilities
                .map(|name| (Box::from(*name), Value::Bool(true)))
                .collect();
            let product = words.named("product").unwrap_or("script");
            let properties = [
                (Box::from("capabilities"), Value::Table(capabilities)),
                (
                    Box::from("product"),
                    Value::String(product.as_bytes().into()),
                ),
            ];
            start = raw(&properties.into_iter().collect());
            response = format!("\0{}\0{}", words.at(0), words.at(1));
            method::ConnectionStartOk {
                client_properties: RawTable(&start),
                mechanism: words.named("mechanism").unwrap_or("PLAIN"),
                response: response.as_bytes(),
                locale: "en_US",
            }
            .into()
        }
        "tune-ok" => method::ConnectionTuneOk {
            channel_max: words.limit("channel_max", 2047),
            frame_max: words.limit("frame_max", 131_072),
            heartbeat: words.limit("heartbeat", 0),
        }
        .into(),
        "open" => {
            let virtual_host = words.at(0);
            return Method::from(method::ConnectionOpen { virtual_host }).encode(0, out);
        }
        "bye" => return Method::from(goodbye()).encode(0, out),
        "bye-ok" => return Method::from(method::ConnectionCloseOk {}).encode(0, out),
        "channel" => method::ChannelOpen {}.into(),
        "close" => method::ChannelClose::default().into(),
        "close-ok" => method::ChannelCloseOk {}.into(),
        "exchange" => method::ExchangeDeclare {
            exchange: words.at(0),
            kind: words.at(1),
            passive: words.has("passive"),
            durable: words.has("durable"),
            auto_delete: words.has("auto-delete"),
            internal: words.has("internal"),
            no_wait: words.has("no-wait"),
            arguments,
        }
        .into(),
        "delete-exchange" => method::ExchangeDelete {
            exchange: words.at(0),
            if_unused: words.has("if-unused"),
            no_wait: false,
        }
        .into(),
        "bind-exchange" => method::ExchangeBind {
            destination: words.at(0),
            source: words.at(1),
            routing_key: words.at(2).as_bytes(),
            no_wait: false,
            arguments,
        }
        .into(),
        "unbind-exchange" => method::ExchangeUnbind {
            destination: words.at(0),
            source: words.at(1),
            routing_key: words.at(2).as_bytes(),
            no_wait: false,
            arguments,
        }
        .into(),
        "queue" => method::QueueDeclare {
            queue: words.at(0),
            passive: words.has("passive"),
            durable: words.has("durable"),
            exclusive: words.has("exclusive"),
            auto_delete: words.has("auto-delete"),
            no_wait: words.has("no-wait"),
            arguments,
        }
        .into(),
        "delete" => method::QueueDelete {
            queue: words.at(0),
            if_unused: words.has("if-unused"),
            if_empty: words.has("if-empty"),
            no_wait: false,
        }
        .into(),
        "bind" => method::QueueBind {
            queue: words.at(0),
            exchange: words.at(1),
            routing_key: words.at(2).as_bytes(),
            no_wait: words.has("no-wait"),
            arguments,
        }
        .into(),
        "unbind" => method::QueueUnbind {
            queue: words.at(0),
            exchange: words.at(1),
            routing_key: words.at(2).as_bytes(),
            arguments,
        }
        .into(),
        "purge" => method::QueuePurge {
            queue: words.at(0),
            no_wait: false,
        }
        .into(),
        "qos" => method::BasicQos {
            prefetch_size: 0,
            prefetch_count: words.number(0),
            global: words.has("global"),
        }
        .into(),
        "consume" => method::BasicConsume {
            queue: words.at(0),
            consumer_tag: words.at(1),
            no_local: false,
            no_ack: words.has("no-ack"),
            exclusive: words.has("exclusive"),
            no_wait: words.has("no-wait"),
            arguments,
        }
        .into(),
        "cancel" => method::BasicCancel {
            consumer_tag: words.at(0),
            no_wait: words.has("no-wait"),
        }
        .into(),
        "get" => method::BasicGet {
            queue: words.at(0),
            no_ack: words.has("no-ack"),
        }
        .into(),
        "ack" => method::BasicAck {
            delivery_tag: words.number(0),
            multiple: words.has("multiple"),
        }
        .into(),
        "nack" => method::BasicNack {
            delivery_tag: words.number(0),
            multiple: words.has("multiple"),
            requeue: words.has("requeue"),
        }
        .into(),
        "reject" => method::BasicReject {
            delivery_tag: words.number(0),
            requeue: words.has("requeue"),
        }
        .into(),
        "recover" => method::BasicRecover { requeue: true }.into(),
        "confirm" => method::ConfirmSelect { no_wait: false }.into(),
        "tx" => method::TxSelect {}.into(),
        "commit" => method::TxCommit {}.into(),
        "rollback" => method::TxRollback {}.into(),
        other => panic!("no verb '{other}'"),
    };
    let is_of_connection = send.ids().0 == 10;
    send.encode(if is_of_connection { 0 } else { channel }, out);
}

fn goodbye() -> method::ConnectionClose<'static> {
    method::ConnectionClose {
        reply_code: 200,
        reply_text: b"bye",
        class_id: 0,
        method_id: 0,
    }
}

fn hex<'a>(words: &'a [&'a str]) -> impl Iterator<Item = u8> + 'a {
    words
        .iter()
        .map(|word| u8::from_str_radix(word, 16).unwrap())
}

/// `publish EXCHANGE KEY BODY [mandatory] [immediate] [persistent] [property=…] [header=…] [frames=N]`
fn publish(words: &Words<'_>, channel: u16, out: &mut Vec<u8>) {
    begin(words, channel, out);
    content(&Words(&words.0[2..]), channel, out);
}

/// `begin EXCHANGE KEY …`: a publish without its content.
fn begin(words: &Words<'_>, channel: u16, out: &mut Vec<u8>) {
    let publish = method::BasicPublish {
        exchange: words.at(0),
        routing_key: words.at(1).as_bytes(),
        mandatory: words.has("mandatory"),
        immediate: words.has("immediate"),
    };
    Method::from(publish).encode(channel, out);
}

/// `content BODY …`: header and body frames alone.
fn content(words: &Words<'_>, channel: u16, out: &mut Vec<u8>) {
    let body = body(words.0[0]);
    let properties = properties(words).encode();
    content::put_content_header(out, channel, &properties, body.len());
    let piece = words.limit("frames", 4096);
    content::put_body(out, channel, &body, piece);
}

fn properties(words: &Words<'_>) -> PropertiesBuf {
    let text = |name| words.named(name).map(|value| value.as_bytes().into());
    let keys = |name: &str| {
        let list = words.named(name)?.split(',');
        let list = list.map(|key| Value::String(key.as_bytes().into()));
        Some((Box::from(name), Value::Array(list.collect())))
    };
    let mut properties = PropertiesBuf::default();
    let known = [
        "priority",
        "expiration",
        "reply-to",
        "user-id",
        "frames",
        "CC",
        "BCC",
    ];
    let mut headers = Table::decode(&words.arguments(&known)).unwrap();
    for (name, value) in ["CC", "BCC"].into_iter().filter_map(keys) {
        headers.insert(name, value);
    }
    properties.headers = (!headers.is_empty()).then_some(headers);
    properties.delivery_mode = words.has("persistent").then_some(2);
    properties.priority = words.named("priority").map(|value| value.parse().unwrap());
    properties.expiration = text("expiration");
    properties.reply_to = text("reply-to");
    properties.user_id = text("user-id");
    properties
}

/// Takes the whole messages off the front of `bytes`, as lines.
pub(crate) fn read(name: &str, bytes: &mut Vec<u8>, lines: &mut Vec<String>) {
    let mut at = 0;
    if bytes.starts_with(b"AMQP") {
        lines.push(format!("{name} header {:?}", &bytes[4..8]));
        at = 8;
    }
    while let Some((line, len)) = read_one(&bytes[at..]) {
        at += len;
        lines.push(format!("{name}{line}"));
    }
    bytes.drain(..at);
}

/// One method with its content, if all of it is there.
fn read_one(bytes: &[u8]) -> Option<(String, usize)> {
    let first = frame::next(bytes, 0).unwrap()?;
    let mut at = first.total_len();
    let channel = match first.channel {
        0 | 1 => String::new(),
        other => format!(".{other}"),
    };
    if first.kind == FrameType::Heartbeat {
        return Some((format!("{channel} heartbeat"), at));
    }
    let method = Method::decode(first.payload).unwrap();
    let mut line = format!("{channel} {}", describe(&method));
    if method.has_content() {
        let head = frame::next(&bytes[at..], 0).unwrap()?;
        assert_eq!(
            (head.kind, head.channel),
            (FrameType::Header, first.channel)
        );
        at += head.total_len();
        let header = ContentHeader::decode(head.payload).unwrap();
        let mut body = Vec::new();
        while (body.len() as u64) < header.body_size {
            let piece = frame::next(&bytes[at..], 0).unwrap()?;
            assert_eq!(
                (piece.kind, piece.channel),
                (FrameType::Body, first.channel)
            );
            at += piece.total_len();
            body.extend_from_slice(piece.payload);
        }
        line += &format!(" {}", describe_body(&body));
        line += &describe_properties(header.properties);
    }
    Some((line, at))
}

fn text(bytes: &[u8]) -> String {
    match bytes {
        b"" => "-".to_owned(),
        other => String::from_utf8_lossy(other).into_owned(),
    }
}

fn describe(method: &Method<'_>) -> String {
    let flag = |is_set: bool, word: &str| {
        if is_set {
            format!(" {word}")
        } else {
            String::new()
        }
    };
    let what = match method {
        Method::ConnectionStart(start) => text(start.mechanisms),
        Method::ConnectionTune(tune) => {
            format!("{} {} {}", tune.channel_max, tune.frame_max, tune.heartbeat)
        }
        Method::ConnectionClose(close) => format!(
            "{} {} {}.{}",
            close.reply_code,
            text(close.reply_text),
            close.class_id,
            close.method_id
        ),
        Method::ChannelClose(close) => format!(
            "{} {} {}.{}",
            close.reply_code,
            text(close.reply_text),
            close.class_id,
            close.method_id
        ),
        Method::ConnectionBlocked(blocked) => text(blocked.reason),
        Method::QueueDeclareOk(ok) => {
            format!("{} {} {}", ok.queue, ok.message_count, ok.consumer_count)
        }
        Method::QueuePurgeOk(ok) => ok.message_count.to_string(),
        Method::QueueDeleteOk(ok) => ok.message_count.to_string(),
        Method::BasicConsumeOk(ok) => ok.consumer_tag.to_owned(),
        Method::BasicCancelOk(ok) => ok.consumer_tag.to_owned(),
        Method::BasicCancel(cancel) => cancel.consumer_tag.to_owned(),
        Method::BasicReturn(returned) => format!(
            "{} {} {} {}",
            returned.reply_code,
            text(returned.reply_text),
            text(returned.exchange),
            text(returned.routing_key)
        ),
        Method::BasicDeliver(deliver) => format!(
            "{} #{}{} {} {}",
            deliver.consumer_tag,
            deliver.delivery_tag,
            flag(deliver.redelivered, "again"),
            text(deliver.exchange),
            text(deliver.routing_key)
        ),
        Method::BasicGetOk(ok) => format!(
            "#{}{} {} {} left={}",
            ok.delivery_tag,
            flag(ok.redelivered, "again"),
            text(ok.exchange),
            text(ok.routing_key),
            ok.message_count
        ),
        Method::BasicAck(ack) => {
            format!("{}{}", ack.delivery_tag, flag(ack.multiple, "multiple"))
        }
        Method::BasicNack(nack) => {
            format!("{}{}", nack.delivery_tag, flag(nack.multiple, "multiple"))
        }
        _ => String::new(),
    };
    let name = method.name();
    let name = name.strip_prefix("basic.").unwrap_or(name);
    format!("{name} {what}").trim_end().to_owned()
}

/// Long bodies are one piece many times over.
fn describe_body(body: &[u8]) -> String {
    match body {
        b"" => "-".to_owned(),
        [first, ..] if body.len() > 64 => {
            assert!(body.iter().all(|octet| octet == first), "a damaged body");
            format!("{}*{}", char::from(*first), body.len())
        }
        short => String::from_utf8_lossy(short).into_owned(),
    }
}

fn describe_properties(properties: &[u8]) -> String {
    let properties = PropertiesBuf::parse(properties).unwrap();
    let mut line = String::new();
    if let Some(priority) = properties.priority {
        line += &format!(" priority={priority}");
    }
    for (name, value) in [
        ("expiration", &properties.expiration),
        ("reply-to", &properties.reply_to),
        ("user-id", &properties.user_id),
    ] {
        if let Some(value) = value {
            line += &format!(" {name}={}", text(value));
        }
    }
    for (name, value) in properties.headers.iter().flat_map(Table::iter) {
        line += &format!(" {name}={}", describe_value(value));
    }
    line
}

pub(crate) fn describe_value(value: &Value) -> String {
    match value {
        Value::String(bytes) => text(bytes),
        Value::Timestamp(seconds) => format!("@{seconds}"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(describe_value).collect();
            format!("[{}]", items.join(","))
        }
        Value::Table(table) => {
            let entries = table.iter();
            let entries: Vec<String> = entries
                .map(|(name, value)| format!("{name}={}", describe_value(value)))
                .collect();
            format!("{{{}}}", entries.join(" "))
        }
        other => other
            .as_i64()
            .map_or_else(|| format!("{other:?}"), |number| number.to_string()),
    }
}
