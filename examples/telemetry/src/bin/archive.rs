//! Keeps every reading, in batches of a given size.

use std::env;

use futures_lite::StreamExt;
use lapin::options::BasicAckOptions;

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let size: u16 = env::args()
        .nth(1)
        .and_then(|size| size.parse().ok())
        .unwrap_or(100);
    let (_connection, channel) = telemetry::connect("archive").await?;
    // The next batch can fill while one is written.
    let mut readings = telemetry::subscribe(&channel, "telemetry.archive", "#", size * 2).await?;
    println!("archive is ready");

    let mut batch = Vec::new();
    while let Some(reading) = readings.next().await {
        let reading = reading?;
        batch.push(format!(
            "{}={}",
            reading.routing_key,
            String::from_utf8_lossy(&reading.data)
        ));
        if batch.len() == usize::from(size) {
            println!("archived {} readings: {}", batch.len(), batch.join(" "));
            batch.clear();
            // One acknowledgement for all of them, once they are kept.
            reading
                .acker
                .ack(BasicAckOptions { multiple: true })
                .await?;
        }
    }
    Ok(())
}
