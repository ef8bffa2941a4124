//! Who one is, and what belongs to passwords.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use leveret_broker::users::PasswordHash;
use serde_json::json;

use crate::answer::{Answer, Reply};
use crate::call::Call;

pub(crate) fn who_am_i(call: &Call<'_>) -> Reply {
    let user = call.user();
    let answer = json!({"name": *user.name, "tags": user.tags, "is_internal_user": true});
    Ok(Answer::value(&answer))
}

pub(crate) fn hash_password(call: &Call<'_>) -> Reply {
    let salt = ((call.broker().options.random)() as u32).to_be_bytes();
    let hash = PasswordHash::new(call.parameter("password"), salt);
    Ok(Answer::value(&json!({"ok": BASE64.encode(&hash.salted)})))
}
