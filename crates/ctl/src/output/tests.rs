use serde_json::Map;

use super::*;
use crate::term::Kind;

/// Two queues, as RabbitMQ 4.3.6 listed them with `name messages arguments state`.
fn queues() -> Output {
    let arguments = |json: &str| {
        let map: Map<String, Value> = serde_json::from_str(json).unwrap();
        Term::new(Kind::Table, Some(&Value::Object(map)))
    };
    let row = |name: &str, messages: u64, table: &str| {
        vec![
            Term::text(name),
            Term::Number(messages.into()),
            arguments(table),
            Term::Undefined,
        ]
    };
    Output::Rows(Rows {
        columns: ["name", "messages", "arguments", "policy"]
            .map(str::to_owned)
            .to_vec(),
        rows: vec![
            row("qq", 0, r#"{"x-queue-type":"quorum"}"#),
            row("q \"1\"", 12, r#"{"x-max-length":100}"#),
        ],
    })
}

fn nothing() -> Output {
    Output::Rows(Rows {
        columns: vec!["name".to_owned()],
        rows: Vec::new(),
    })
}

fn check_styled(output: &Output, format: Format, headers: bool, expected: &str) {
    let style = Style {
        format,
        headers,
        node: "rabbit@localhost",
    };
    let mut out = Vec::new();
    write(&mut out, output, style).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), expected, "{format:?}");
}

fn check(output: &Output, format: Format, expected: &str) {
    check_styled(output, format, true, expected);
}

#[test]
fn tables() {
    check(
        &queues(),
        Format::Table,
        "name\tmessages\targuments\tpolicy\n\
         qq\t0\t[{\"x-queue-type\",\"quorum\"}]\t\n\
         q \"1\"\t12\t[{\"x-max-length\",100}]\t\n",
    );
    check_styled(
        &queues(),
        Format::Table,
        false,
        "qq\t0\t[{\"x-queue-type\",\"quorum\"}]\t\nq \"1\"\t12\t[{\"x-max-length\",100}]\t\n",
    );
    check(&nothing(), Format::Table, "");
}

#[test]
fn tables_with_a_frame() {
    let output = Output::Rows(Rows {
        columns: vec!["user".to_owned(), "tags".to_owned()],
        rows: vec![vec![Term::text("ann"), Term::text("é")]],
    });
    check(
        &output,
        Format::PrettyTable,
        "┌──────┬──────┐\n\
         │ user │ tags │\n\
         ├──────┼──────┤\n\
         │ ann  │ é    │\n\
         └──────┴──────┘\n",
    );
    check(&nothing(), Format::PrettyTable, "");
}

#[test]
fn lists_for_machines() {
    check(
        &queues(),
        Format::Json,
        "[\n\
         {\"name\":\"qq\",\"messages\":0,\"arguments\":[[\"x-queue-type\",\"longstr\",\"quorum\"]],\"policy\":\"\"}\n\
         ,{\"name\":\"q \\\"1\\\"\",\"messages\":12,\"arguments\":[[\"x-max-length\",\"long\",100]],\"policy\":\"\"}\n\
         ]\n",
    );
    check(&nothing(), Format::Json, "[\n]\n");
    check(
        &queues(),
        Format::JsonStream,
        "{\"name\":\"qq\",\"messages\":0,\"arguments\":[[\"x-queue-type\",\"longstr\",\"quorum\"]],\"policy\":\"\"}\n\n\
         {\"name\":\"q \\\"1\\\"\",\"messages\":12,\"arguments\":[[\"x-max-length\",\"long\",100]],\"policy\":\"\"}\n\n",
    );
    check(
        &queues(),
        Format::Csv,
        "\"name\",\"messages\",\"arguments\",\"policy\"\n\
         \"qq\",\"0\",\"[{\"\"x-queue-type\"\",\"\"quorum\"\"}]\",\"\"\n\
         \"q \"\"1\"\"\",\"12\",\"[{\"\"x-max-length\"\",100}]\",\"\"\n",
    );
    check(&nothing(), Format::Csv, "");
    check(
        &queues(),
        Format::Erlang,
        "[[{name,<<\"qq\">>},{messages,0},{arguments,[{<<\"x-queue-type\">>,longstr,<<\"quorum\">>}]},{policy,''}],\n \
         [{name,<<\"q \\\"1\\\"\">>},{messages,12},{arguments,[{<<\"x-max-length\">>,long,100}]},{policy,''}]]\n",
    );
}

#[test]
fn sentences() {
    let done = "{\"node\":\"rabbit@localhost\",\"result\":\"ok\"}\n";
    check(&Output::Done, Format::String, "");
    check(&Output::Done, Format::Json, done);
    let text = Output::Text("Ping succeeded".to_owned());
    check(&text, Format::String, "Ping succeeded\n");
    check(
        &text,
        Format::Json,
        "{\"node\":\"rabbit@localhost\",\"result\":\"ok\",\"value\":\"Ping succeeded\"}\n",
    );
    let report = Output::Report {
        text: "all is well".to_owned(),
        json: json!({ "result": "ok" }),
    };
    check(&report, Format::Table, "all is well\n");
    check(&report, Format::Json, "{\"result\":\"ok\"}\n");
    check(&Output::Raw(b"{}".to_vec()), Format::Json, "{}");
}
