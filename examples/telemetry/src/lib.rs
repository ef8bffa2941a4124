//! What sensors and consumers agree on.

use std::env;

use lapin::options::{
    BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ExchangeKind, Result};

pub const EXCHANGE: &str = "telemetry";

/// A channel on which the exchange exists; the connection has to be kept as long.
pub async fn connect(name: &str) -> Result<(Connection, Channel)> {
    let url = env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connection = Connection::connect(&url, properties).await?;
    let channel = connection.create_channel().await?;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .exchange_declare(
            EXCHANGE.into(),
            ExchangeKind::Topic,
            durable,
            FieldTable::default(),
        )
        .await?;
    Ok((connection, channel))
}

/// Consumes the readings of a pattern from the durable queue of that name.
pub async fn subscribe(
    channel: &Channel,
    queue: &str,
    pattern: &str,
    prefetch: u16,
) -> Result<Consumer> {
    let table = FieldTable::default;
    channel
        .queue_declare(queue.into(), QueueDeclareOptions::durable(), table())
        .await?;
    let options = QueueBindOptions::default();
    channel
        .queue_bind(
            queue.into(),
            EXCHANGE.into(),
            pattern.into(),
            options,
            table(),
        )
        .await?;
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await?;
    channel
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            table(),
        )
        .await
}

/// The number in a reading's body; what is no number is no reading.
pub fn reading(body: &[u8]) -> Option<f64> {
    std::str::from_utf8(body).ok()?.parse().ok()
}
