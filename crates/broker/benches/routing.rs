//! What one route and one binding cost, by kind of exchange and number of bindings.
//!
//! `cargo bench -p leveret-broker --bench routing`: times are per route (per binding in `bind` and `unbind`), and the
//! lines below each one count allocations and their bytes.

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use leveret_broker::exchange::{Destination, Kind, Route, Router};
use leveret_broker::ids::QueueId;
use leveret_broker::properties::PropertiesBuf;
use leveret_broker::table::Table;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const SIZES: [u32; 3] = [10, 1_000, 100_000];
const MANY: u32 = 100_000;
/// Routes that one sample goes through, so that not one and the same is predicted and cached.
const ROUTES: u32 = 1_024;

fn main() {
    divan::main();
}

/// The n-th binding of an exchange: to a queue of its own, found by `key` or by `arguments`.
struct Bound {
    key: String,
    arguments: Table,
}

fn plain(n: u32) -> Bound {
    let key = format!("site.{}.device.{n}.temperature", n % 100);
    let arguments = Table::new();
    Bound { key, arguments }
}

/// One wildcard or two in every pattern; the message made from [`plain`] with the same number matches.
fn pattern(n: u32) -> Bound {
    let key = match n % 4 {
        0 => format!("site.{}.device.{n}.*", n % 100),
        1 => format!("site.*.device.{n}.#"),
        2 => format!("*.{}.*.{n}.temperature", n % 100),
        _ => format!("#.{n}.temperature"),
    };
    let arguments = Table::new();
    Bound { key, arguments }
}

/// A header that all bindings share, and one of its own.
fn headers(n: u32) -> Bound {
    let arguments = [("type", "reading".into()), ("device", i64::from(n).into())];
    Bound {
        key: String::new(),
        arguments: Table::from_iter(arguments),
    }
}

fn bound_router(kind: Kind, size: u32, make: fn(u32) -> Bound) -> Router {
    let mut router = Router::new(kind, &Table::new()).expect("no arguments are valid arguments");
    for n in 0..size {
        let Bound { key, arguments } = make(n);
        router.bind(Destination::Queue(QueueId(n)), key.as_bytes(), &arguments);
    }
    router
}

/// Routes messages made by `message`, each of which must reach at least one queue.
fn routes(bencher: Bencher<'_, '_>, router: &Router, size: u32, message: fn(u32) -> Bound) {
    let messages: Vec<_> = (0..ROUTES)
        .map(|n| {
            let Bound { key, arguments } = message(n.wrapping_mul(2_654_435_761) % size);
            let headers = (!arguments.is_empty()).then_some(arguments);
            let properties = PropertiesBuf {
                headers,
                ..Default::default()
            };
            (key, properties.encode())
        })
        .collect();
    let mut out = Vec::with_capacity(size as usize);
    bencher.counter(ItemsCount::new(ROUTES)).bench_local(|| {
        for (key, properties) in &messages {
            out.clear();
            let key = key.as_bytes();
            black_box(router).route(
                &Route {
                    key,
                    properties,
                    random: 0,
                },
                &mut out,
            );
            assert!(!black_box(&out).is_empty());
        }
    });
}

#[divan::bench(args = SIZES)]
fn direct(bencher: Bencher<'_, '_>, size: u32) {
    let router = bound_router(Kind::Direct, size, plain);
    routes(bencher, &router, size, plain);
}

#[divan::bench(args = SIZES)]
fn topic_plain(bencher: Bencher<'_, '_>, size: u32) {
    let router = bound_router(Kind::Topic, size, plain);
    routes(bencher, &router, size, plain);
}

#[divan::bench(args = SIZES)]
fn topic_wildcards(bencher: Bencher<'_, '_>, size: u32) {
    let router = bound_router(Kind::Topic, size, pattern);
    routes(bencher, &router, size, plain);
}

#[divan::bench(args = SIZES)]
fn header(bencher: Bencher<'_, '_>, size: u32) {
    let router = bound_router(Kind::Headers, size, headers);
    routes(bencher, &router, size, headers);
}

/// Every message reaches every queue.
#[divan::bench(args = SIZES, sample_count = 10)]
fn fanout(bencher: Bencher<'_, '_>, size: u32) {
    let router = bound_router(Kind::Fanout, size, plain);
    routes(bencher, &router, size, plain);
}

#[divan::bench(args = [1, 10, 100, 1_000])]
fn consistent_hash(bencher: Bencher<'_, '_>, size: u32) {
    let weighted = |n: u32| Bound {
        key: (n % 3 + 1).to_string(),
        arguments: Table::new(),
    };
    let router = bound_router(Kind::ConsistentHash, size, weighted);
    routes(bencher, &router, size, plain);
}

const KINDS: [&str; 4] = ["direct", "topic", "headers", "fanout"];

fn kind_and_bindings(name: &str) -> (Kind, fn(u32) -> Bound) {
    let kind = Kind::from_name(name).expect("the name of a kind");
    match kind {
        Kind::Topic => (kind, pattern),
        Kind::Headers => (kind, headers),
        _ => (kind, plain),
    }
}

#[divan::bench(args = KINDS, sample_count = 10)]
fn bind(bencher: Bencher<'_, '_>, kind: &str) {
    let (kind, make) = kind_and_bindings(kind);
    let bound: Vec<_> = (0..MANY).map(make).collect();
    bencher
        .counter(ItemsCount::new(MANY))
        .with_inputs(|| bound_router(kind, 0, make))
        .bench_local_values(|mut router| {
            for (n, Bound { key, arguments }) in (0..).zip(&bound) {
                router.bind(Destination::Queue(QueueId(n)), key.as_bytes(), arguments);
            }
            router
        });
}

#[divan::bench(args = KINDS, sample_count = 10)]
fn unbind(bencher: Bencher<'_, '_>, kind: &str) {
    let (kind, make) = kind_and_bindings(kind);
    let bound: Vec<_> = (0..MANY).map(make).collect();
    bencher
        .counter(ItemsCount::new(MANY))
        .with_inputs(|| bound_router(kind, MANY, make))
        .bench_local_values(|mut router| {
            for (n, Bound { key, arguments }) in (0..).zip(&bound) {
                router.unbind(Destination::Queue(QueueId(n)), key.as_bytes(), arguments);
            }
            assert!(router.is_empty());
        });
}
