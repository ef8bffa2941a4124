//! Calls out temperatures above a limit.

use std::env;

use futures_lite::StreamExt;
use lapin::options::BasicAckOptions;

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let limit: f64 = env::args()
        .nth(1)
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(80.0);
    let (_connection, channel) = telemetry::connect("alarm").await?;
    let mut readings =
        telemetry::subscribe(&channel, "telemetry.alarm", "*.*.temperature", 100).await?;
    println!("alarm is ready");

    while let Some(reading) = readings.next().await {
        let reading = reading?;
        if let Some(value) = telemetry::reading(&reading.data).filter(|&value| value > limit) {
            println!("ALARM {} is {value}", reading.routing_key);
        }
        reading.acker.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}
