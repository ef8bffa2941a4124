//! Exchanges.

use leveret_broker::broker::definitions::ExchangeSpec;
use leveret_broker::broker::listing::ExchangeInfo;
use leveret_broker::events::PERFORMED_BY;

use crate::answer::{Answer, Failure, Reply};
use crate::api::flows;
use crate::call::Call;
use crate::json::Object;
use crate::list::{List, reply_one};
use crate::sampler::Key;
use crate::session::principal;
use crate::stats::{EXCHANGE_STATS, Gathered, Writer};
use crate::table::{TableJson, from_json};

/// Who RabbitMQ says has declared what the node did by itself.
const NODE: &str = "rmq-internal";

pub(crate) fn list(call: &Call<'_>) -> Reply {
    let vhosts = call.vhosts();
    let mut rows = call.broker().list_exchanges(None);
    rows.retain(|exchange| vhosts.contains(&exchange.vhost));
    reply_list(call, rows)
}

pub(crate) fn list_in_vhost(call: &Call<'_>) -> Reply {
    let rows = call.broker().list_exchanges(Some(call.vhost()?));
    reply_list(call, rows)
}

fn reply_list(call: &Call<'_>, rows: Vec<ExchangeInfo>) -> Reply {
    let numbers = Writer::rows(call)?;
    let list = List::new(
        rows,
        |exchange| &exchange.name,
        move |exchange, object| write(object, exchange, &numbers),
    );
    list.reply(&call.query)
}

pub(crate) fn show(call: &Call<'_>) -> Reply {
    let exchange = find(call)?;
    let numbers = Writer::samples(call)?;
    reply_one(&call.query, |object| {
        write(object, &exchange, &numbers);
        flows::write_of_exchange(object, call, &exchange, &numbers);
    })
}

fn find(call: &Call<'_>) -> Result<ExchangeInfo, Failure> {
    let exchange = call
        .broker()
        .exchange_info(call.vhost()?, call.exchange("exchange"));
    exchange.ok_or_else(Failure::no_such_object)
}

fn write(object: &mut Object<'_>, exchange: &ExchangeInfo, numbers: &Writer) {
    object.field("name", &*exchange.name);
    object.field("vhost", &*exchange.vhost);
    object.field("type", exchange.kind.name());
    object.field("durable", &exchange.durable);
    object.field("auto_delete", &exchange.auto_delete);
    object.field("internal", &exchange.internal);
    object.field("arguments", &TableJson(&exchange.arguments));
    let by = exchange.declared_by.as_deref().unwrap_or(NODE);
    object.field(PERFORMED_BY, by);
    if let Some(policy) = &exchange.applied.user {
        object.field("policy", &*policy.name);
    }
    object.object("message_stats", |object| {
        let gathered = Gathered::default().with_exchange(&exchange.counters);
        let key = Key::exchange(&exchange.vhost, &exchange.name);
        numbers.write(object, &EXCHANGE_STATS, key, &gathered);
    });
}

pub(crate) fn declare(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    call.new_name("exchange")?;
    let spec = ExchangeSpec {
        name: call.exchange("exchange"),
        kind: body.text("type")?.unwrap_or("direct"),
        durable: body.flag("durable")?.unwrap_or(true),
        auto_delete: body.flag("auto_delete")?.unwrap_or(false),
        internal: body.flag("internal")?.unwrap_or(false),
        arguments: from_json(&body.map("arguments")?)?,
    };
    let by = principal(call)?;
    let existed = find(call).is_ok();
    let durable_at = call.broker().declare_exchange(&by, spec)?;
    Ok(Answer::put(!existed).after(durable_at))
}

pub(crate) fn delete(call: &Call<'_>) -> Reply {
    let by = principal(call)?;
    let exchange = find(call)?;
    let if_unused = call.query.is_true("if-unused");
    let durable_at = call
        .broker()
        .delete_exchange(&by, &exchange.name, if_unused)?;
    Ok(Answer::done().after(durable_at))
}
