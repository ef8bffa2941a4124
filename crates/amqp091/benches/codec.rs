//! What the codec costs per message. Run with `cargo bench -p leveret-amqp091`; the allocation columns are absent where
//! nothing was allocated.

use divan::{AllocProfiler, Bencher, black_box};

use leveret_amqp091::content::{Delivery, put_ack, put_body, put_content_header, put_deliver_head};
use leveret_amqp091::content_header::ContentHeader;
use leveret_amqp091::frame::{self, FrameType};
use leveret_amqp091::method::{BasicAck, BasicPublish, Method};
use leveret_broker::properties::{Properties, PropertiesBuf};
use leveret_broker::table::{Table, Value, check, find};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const FRAME_MAX: u32 = 131_072;
const BODY_SIZES: [usize; 2] = [16, 1024];
/// Messages per read buffer.
const BATCH: usize = 100;

fn main() {
    divan::main();
}

fn persistent() -> Vec<u8> {
    PropertiesBuf {
        delivery_mode: Some(2),
        ..Default::default()
    }
    .encode()
}

/// A buffer of publishes, as one read from a socket would give it.
fn publishes(body_size: usize) -> Vec<u8> {
    let publish = BasicPublish {
        exchange: "orders",
        routing_key: b"eu.berlin.created",
        mandatory: false,
        immediate: false,
    };
    let (properties, body) = (persistent(), vec![b'x'; body_size]);
    let mut buffer = Vec::new();
    for _ in 0..BATCH {
        Method::from(publish).encode(1, &mut buffer);
        put_content_header(&mut buffer, 1, &properties, body_size);
        put_body(&mut buffer, 1, &body, FRAME_MAX);
    }
    buffer
}

/// Method, header, properties and body of a buffer of publishes.
#[divan::bench(args = BODY_SIZES)]
fn parse_publish(bencher: Bencher<'_, '_>, body_size: usize) {
    let buffer = publishes(body_size);
    bencher
        .counter(divan::counter::ItemsCount::new(BATCH))
        .bench(|| {
            let mut rest = black_box(&*buffer);
            let mut persistent = 0;
            while let Ok(Some(frame)) = frame::next(rest, FRAME_MAX) {
                match frame.kind {
                    FrameType::Method => {
                        let _ = black_box(Method::decode(frame.payload));
                    }
                    FrameType::Header => {
                        let header =
                            ContentHeader::decode(frame.payload).expect("it was written so");
                        let read = Properties::parse(header.properties).expect("it was written so");
                        persistent += usize::from(read.delivery_mode() == Some(2));
                        black_box(read.priority());
                        black_box(read.expiration());
                    }
                    FrameType::Body | FrameType::Heartbeat => {
                        black_box(frame.payload);
                    }
                }
                rest = &rest[frame.total_len()..];
            }
            assert_eq!(persistent, BATCH);
        });
}

/// Deliveries, header and body into an output buffer that has its size.
#[divan::bench(args = BODY_SIZES)]
fn encode_deliver(bencher: Bencher<'_, '_>, body_size: usize) {
    let (properties, body) = (persistent(), vec![b'x'; body_size]);
    let mut out = Vec::with_capacity(BATCH * (body_size + 200));
    bencher
        .counter(divan::counter::ItemsCount::new(BATCH))
        .bench_local(|| {
            out.clear();
            for delivery_tag in 0..BATCH as u64 {
                let delivery = Delivery {
                    channel: 1,
                    consumer_tag: "amq.ctag-0123456789abcdefghijkl",
                    delivery_tag,
                    redelivered: false,
                    address: b"\x06orders\x11eu.berlin.created",
                    properties: &properties,
                    body_size,
                };
                put_deliver_head(&mut out, black_box(&delivery));
                put_body(&mut out, 1, black_box(&body), FRAME_MAX);
            }
            black_box(&out);
        });
}

#[divan::bench]
fn encode_ack(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(BATCH * 21);
    bencher
        .counter(divan::counter::ItemsCount::new(BATCH))
        .bench_local(|| {
            out.clear();
            (0..BATCH as u64).for_each(|tag| put_ack(&mut out, 1, black_box(tag), false));
            black_box(&out);
        });
}

#[divan::bench]
fn decode_ack(bencher: Bencher<'_, '_>) {
    let mut buffer = Vec::new();
    for delivery_tag in 0..BATCH as u64 {
        Method::from(BasicAck {
            delivery_tag,
            multiple: false,
        })
        .encode(1, &mut buffer);
    }
    bencher
        .counter(divan::counter::ItemsCount::new(BATCH))
        .bench(|| {
            let mut rest = black_box(&*buffer);
            while let Ok(Some(frame)) = frame::next(rest, FRAME_MAX) {
                let _ = black_box(Method::decode(frame.payload));
                rest = &rest[frame.total_len()..];
            }
        });
}

/// Five headers, the one looked for last.
fn headers() -> Table {
    let texts = ["tenant", "trace", "region", "schema"].map(|key| (key, Value::from("some text")));
    texts
        .into_iter()
        .chain([("CC", Value::Array(vec!["other".into()]))])
        .collect()
}

#[divan::bench]
fn find_header(bencher: Bencher<'_, '_>) {
    let mut raw = Vec::new();
    headers().encode(&mut raw);
    bencher.bench(|| find(black_box(&raw[4..]), "CC").is_ok_and(|found| found.is_some()));
}

#[divan::bench]
fn decode_table(bencher: Bencher<'_, '_>) {
    let mut raw = Vec::new();
    headers().encode(&mut raw);
    bencher.bench(|| Table::decode(black_box(&raw[4..])));
}

#[divan::bench]
fn read_properties(bencher: Bencher<'_, '_>) {
    let properties = persistent();
    bencher.bench(|| {
        let read = Properties::parse(black_box(&properties)).expect("it was written so");
        (
            read.delivery_mode(),
            read.priority(),
            read.expiration().is_some(),
        )
    });
}

#[divan::bench]
fn check_table(bencher: Bencher<'_, '_>) {
    let mut raw = Vec::new();
    headers().encode(&mut raw);
    bencher.bench(|| check(black_box(&raw[4..])));
}
