//! The running average of a site's readings, per topic.

use std::collections::HashMap;
use std::env;

use futures_lite::StreamExt;
use lapin::options::BasicAckOptions;

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let site = env::args().nth(1).unwrap_or_else(|| "berlin".into());
    let (_connection, channel) = telemetry::connect("average").await?;
    let queue = format!("telemetry.average.{site}");
    let mut readings = telemetry::subscribe(&channel, &queue, &format!("{site}.#"), 100).await?;
    println!("average is ready");

    let mut sums: HashMap<String, (f64, u32)> = HashMap::new();
    while let Some(reading) = readings.next().await {
        let reading = reading?;
        if let Some(value) = telemetry::reading(&reading.data) {
            let (sum, count) = sums.entry(reading.routing_key.to_string()).or_default();
            *sum += value;
            *count += 1;
            println!(
                "average of {} is {:.2} over {count}",
                reading.routing_key,
                *sum / f64::from(*count)
            );
        }
        reading.acker.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}
