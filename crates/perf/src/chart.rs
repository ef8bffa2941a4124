//! A run over time as an SVG: rates above, latencies below.

use std::fmt::Write;

use crate::report::{self, Report, Second};

const WIDTH: f64 = 860.0;
/// Room at the left for the numbers of an axis, at the right for the names of the lines.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 110.0;
const PANEL: f64 = 190.0;
const GAP: f64 = 50.0;
const TOP: f64 = 40.0;

/// A line of a panel; values that are not above 0 are left out.
struct Line {
    name: &'static str,
    colour: &'static str,
    value: fn(&Second) -> f64,
}

/// The colours are Okabe and Ito's, which people who see few colours can tell apart.
const RATES: [Line; 3] = [
    Line {
        name: "published",
        colour: "#0072b2",
        value: |second| second.published_per_second,
    },
    Line {
        name: "received",
        colour: "#009e73",
        value: |second| second.received_per_second,
    },
    Line {
        name: "confirmed",
        colour: "#e69f00",
        value: |second| second.confirmed_per_second,
    },
];

const LATENCIES: [Line; 2] = [
    Line {
        name: "p50",
        colour: "#0072b2",
        value: |second| second.p50_us,
    },
    Line {
        name: "p99",
        colour: "#d55e00",
        value: |second| second.p99_us,
    },
];

pub(crate) fn draw(report: &Report) -> String {
    let height = TOP + 2.0 * (PANEL + GAP);
    let title = match &*report.name {
        "" => report.broker.clone(),
        name => format!("{name} · {}", report.broker),
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#444\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
        escape(&title)
    );
    let per_second = |rate| format!("{}/s", report::short(rate));
    panel(&mut svg, TOP, &report.series, &RATES, per_second);
    panel(
        &mut svg,
        TOP + PANEL + GAP,
        &report.series,
        &LATENCIES,
        report::time,
    );
    svg += "</svg>\n";
    svg
}

/// One panel, its vertical axis from 0 to a round number above all values.
fn panel(
    svg: &mut String,
    top: f64,
    series: &[Second],
    lines: &[Line],
    label: impl Fn(f64) -> String,
) {
    let values = |line: &Line| series.iter().map(line.value).fold(0.0, f64::max);
    let highest = round_up(lines.iter().map(values).fold(0.0, f64::max));
    let first = series.first().map_or(0.0, |second| second.at);
    let last = series.last().map_or(1.0, |second| second.at);
    let across = WIDTH - LEFT - RIGHT;
    let x = |at: f64| LEFT + (at - first) / (last - first).max(1e-9) * across;
    let y = |value: f64| top + PANEL - value / highest * PANEL;
    for quarter in 0..=4 {
        let value = highest * f64::from(quarter) / 4.0;
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {:.1}h{across}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            y(value),
            LEFT - 8.0,
            y(value) + 4.0,
            label(value)
        );
    }
    for (at, anchor) in [(first, "start"), (last, "end")] {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{at:.0} s</text>",
            x(at),
            top + PANEL + 18.0
        );
    }
    let drawn = lines.iter().filter(|line| values(line) > 0.0);
    for (n, line) in drawn.enumerate() {
        let points = series
            .iter()
            .map(|second| (second.at, (line.value)(second)))
            .filter(|(_, value)| *value > 0.0)
            .fold(String::new(), |points, (at, value)| {
                format!("{points}{:.1},{:.1} ", x(at), y(value))
            });
        let Line { name, colour, .. } = line;
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"{colour}\">{name}</text>",
            points.trim_end(),
            WIDTH - RIGHT + 10.0,
            top + 14.0 + 18.0 * n as f64
        );
    }
}

/// The next of 1, 2, 4, 5, 8 and their multiples by ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let unit = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    let fits = |step: &f64| step * unit >= value;
    steps.into_iter().find(fits).unwrap_or(10.0) * unit
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, expected) in [
            (0.0, 1.0),
            (1.0, 1.0),
            (2.1, 4.0),
            (480.0, 500.0),
            (850_000.0, 1e6),
        ] {
            assert_eq!(round_up(value), expected);
        }
    }

    #[test]
    fn lines_have_a_point_for_each_second() {
        let second = |at| Second {
            at,
            published_per_second: 100.0,
            p50_us: 10.0,
            ..Default::default()
        };
        let report = Report {
            name: "a < b".to_owned(),
            broker: "c & d".to_owned(),
            series: (1..=5).map(f64::from).map(second).collect(),
            ..Default::default()
        };
        let svg = draw(&report);
        assert!(svg.contains("a &lt; b · c &amp; d"));
        let lines: Vec<_> = svg
            .lines()
            .filter(|line| line.starts_with("<polyline"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| {
            line.split("points=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .split(' ')
                .count()
                == 5
        }));
        assert!(lines[0].contains("80.0,40.0 "));
        assert!(lines[0].contains("750.0,40.0\""));
    }

    #[test]
    fn a_run_of_no_time_is_drawn_too() {
        let svg = draw(&Report::default());
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }
}
