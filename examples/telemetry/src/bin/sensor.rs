//! Publishes readings: a topic, then the values. Ends when the broker has confirmed them all.

use std::env;

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let mut arguments = env::args().skip(1);
    let topic = arguments
        .next()
        .unwrap_or_else(|| "berlin.boiler.temperature".into());
    let (connection, channel) = telemetry::connect("sensor").await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;

    let mut confirms = Vec::new();
    for value in arguments {
        let persistent = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("text/plain".into());
        let (exchange, options) = (telemetry::EXCHANGE.into(), BasicPublishOptions::default());
        let publish = channel.basic_publish(
            exchange,
            topic.as_str().into(),
            options,
            value.as_bytes(),
            persistent,
        );
        confirms.push(publish.await?);
    }
    let count = confirms.len();
    for confirm in confirms {
        assert!(confirm.await?.is_ack(), "the broker refused a reading");
    }
    println!("sensor sent {count} readings of {topic}");
    connection.close(200, "done".into()).await
}
