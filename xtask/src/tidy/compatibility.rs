//! COMPATIBILITY.md has one row for each feature that RabbitMQ has, and each row says where we stand.

use super::Source;

/// The features by area: a letter, and the number of the last one. The numbers are ours; the list was made once from
/// RabbitMQ 4.3's documentation and sources, and a feature added there gets the next number here.
const AREAS: [(char, u32); 7] = [
    ('C', 21),
    ('H', 28),
    ('X', 21),
    ('Q', 18),
    ('T', 29),
    ('E', 21),
    ('U', 11),
];

/// The arguments of queues, consumers and exchanges, listed by their names.
const ARGUMENTS: [&str; 29] = [
    "x-queue-type",
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-priority",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-quorum-initial-group-size",
    "target-group-size",
    "x-queue-leader-locator",
    "x-member-placement-tag",
    "x-consumer-timeout",
    "x-consumer-disconnected-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min, x-delayed-retry-max",
    "x-max-in-memory-length, x-max-in-memory-bytes",
    "x-queue-version",
    "x-queue-mode",
    "x-queue-master-locator",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
    "x-selector-fields",
];

const STATES: [&str; 4] = ["yes", "partly", "no", "no (planned)"];

pub(super) fn check(sources: &[Source], complaints: &mut Vec<String>) {
    let Some(page) = Source::find(sources, "COMPATIBILITY.md") else {
        complaints.push("COMPATIBILITY.md is missing".to_owned());
        return;
    };
    let ids = AREAS
        .iter()
        .flat_map(|&(area, last)| (1..=last).map(move |n| format!("{area}{n:02}")));
    let wanted: Vec<String> = ids.chain(ARGUMENTS.map(str::to_owned)).collect();
    let rows: Vec<(String, &str)> = page.text.lines().filter_map(row).collect();
    for id in &wanted {
        let count = rows.iter().filter(|(name, _)| name == id).count();
        if count != 1 {
            complaints.push(format!("COMPATIBILITY.md: {count} rows for {id}"));
        }
    }
    for (id, state) in &rows {
        if !wanted.contains(id) {
            complaints.push(format!("COMPATIBILITY.md: nothing is known of {id}"));
        }
        if !STATES.contains(state) {
            complaints.push(format!("COMPATIBILITY.md: the state of {id} is `{state}`"));
        }
    }
}

/// Name and state of a table row: `| name | feature | state | …`. Not the heads of tables.
fn row(line: &str) -> Option<(String, &str)> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let name = cells.next()?.replace('`', "");
    let state = cells.nth(1)?;
    (!name.starts_with('-') && !["id", "argument"].contains(&name.as_str()))
        .then_some((name, state))
}

#[cfg(test)]
mod tests {
    use super::super::sources;
    use super::*;

    /// A page with every row in the state `state`.
    fn page(state: &str) -> String {
        let ids = AREAS
            .iter()
            .flat_map(|&(area, last)| (1..=last).map(move |n| format!("{area}{n:02}")));
        let rows = ids.chain(ARGUMENTS.map(|name| format!("`{name}`")));
        let rows = rows.map(|id| format!("| {id} | words | {state} | a test |\n"));
        format!(
            "| id | feature | state | proof |\n|---|---|---|---|\n{}",
            rows.collect::<String>()
        )
    }

    fn check_page(page: &str, wanted: &[&str]) {
        let mut complaints = Vec::new();
        check(&sources(&[("COMPATIBILITY.md", page)]), &mut complaints);
        assert_eq!(complaints, wanted);
    }

    #[test]
    fn each_feature_has_one_row() {
        check_page(&page("yes"), &[]);
        check_page(
            &page("partly").replace("| H05 ", "| H50 "),
            &[
                "COMPATIBILITY.md: 0 rows for H05",
                "COMPATIBILITY.md: nothing is known of H50",
            ],
        );
        let twice = page("no") + "| `x-expires` | words | no (planned) | |\n";
        check_page(&twice, &["COMPATIBILITY.md: 2 rows for x-expires"]);
    }

    #[test]
    fn each_row_has_a_state() {
        let soon = page("yes").replacen("| yes |", "| soon |", 1);
        check_page(&soon, &["COMPATIBILITY.md: the state of C01 is `soon`"]);
    }
}
