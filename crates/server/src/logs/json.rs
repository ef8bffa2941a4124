//! Events as JSON, one object for each line, with RabbitMQ's names: `time`, `level`, `msg`, `domain`; and what else the
//! event says under names of its own.

use std::fmt::Debug;
use std::io::Write;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer};

use super::Category;

/// See the module's page.
pub(super) struct Lines<W>(W);

impl<W> Lines<W> {
    pub(super) fn new(writer: W) -> Self {
        Self(writer)
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut time = String::new();
        // Without it the line is worth writing, too.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let mut object = Fields(Map::new());
        event.record(&mut object);
        let text = line(
            object.0,
            event.metadata().level(),
            event.metadata().target(),
            time,
        );
        // There is nowhere to say that the log can't be written.
        let _ = self
            .0
            .make_writer_for(event.metadata())
            .write_all(text.as_bytes());
    }
}

fn line(mut object: Map<String, Value>, level: &Level, target: &str, time: String) -> String {
    let message = object.remove("message").unwrap_or_default();
    let domain = format!("rabbitmq.{}", Category::of(target).name());
    let level = match *level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        _ => "debug",
    };
    for (name, value) in [
        ("time", time.into()),
        ("level", level.into()),
        ("domain", domain.into()),
        ("msg", message),
    ] {
        object.insert(name.to_owned(), value);
    }
    format!("{}\n", Value::Object(object))
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_an_object_on_a_line() {
        let written = Written::default();
        let writer = written.clone();
        let lines = Lines::new(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "user", user = "al\"ice\n", port = 5672, tls = true, "login refused");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let mut object: Value = serde_json::from_str(&text).unwrap();
        let time = object.as_object_mut().unwrap().remove("time").unwrap();
        assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
        let expected = serde_json::json!({
            "level": "warning", "domain": "rabbitmq.user", "msg": "login refused",
            "user": "al\"ice\n", "port": 5672, "tls": true,
        });
        assert_eq!(object, expected);
    }
}
