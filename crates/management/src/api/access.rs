//! Who one is, how one logs in, and what belongs to passwords.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::net::{IpAddr, Ipv4Addr};

use leveret_broker::authority::Identity;
use leveret_broker::users::PasswordHash;
use serde_json::{Map, Value, json};

use crate::access::is_management_user;
use crate::answer::{Answer, Failure, Reply};
use crate::call::{Call, Caller};
use crate::options::Oauth;
use crate::query::Query;

pub(crate) fn who_am_i(call: &Call<'_>) -> Reply {
    let mut user = shown(call.user());
    if let Some(minutes) = call.management.options.login_session_minutes {
        user["login_session_timeout"] = minutes.into();
    }
    Ok(Answer::value(&user))
}

fn shown(user: &Identity) -> Value {
    let is_internal = user.authority.is_none();
    json!({"name": *user.name, "tags": user.tags, "is_internal_user": is_internal})
}

pub(crate) fn hash_password(call: &Call<'_>) -> Reply {
    let salt = ((call.broker().options.random)() as u32).to_be_bytes();
    let hash = PasswordHash::new(call.parameter("password"), salt);
    Ok(Answer::value(&json!({"ok": BASE64.encode(&hash.salted)})))
}

/// Name and password of a form, for pages that keep them as a token.
pub(crate) fn log_in(call: &Call<'_>) -> Reply {
    let text = std::str::from_utf8(call.body).unwrap_or_default();
    let form = Query::parse(text);
    let (name, password) = match (form.get("username"), form.get("password")) {
        (Some(name), Some(password)) => (name, password),
        _ => ("", ""),
    };
    let peer = match call.caller() {
        Caller::At(peer) => peer,
        Caller::Operator => Ipv4Addr::LOCALHOST.into(),
    };
    let user = try_password(call, peer, (name, password))?;
    let allowed = is_management_user(&user);
    call.management.count(peer, &user.name, allowed);
    if !allowed {
        return Err(Failure::not_authorised("Not management user"));
    }
    let token = BASE64.encode(format!("{name}:{password}"));
    Ok(Answer::value(&json!({
        "user": shown(&user),
        "token": {"type": "basic", "value": token},
    })))
}

/// There is no session to end.
pub(crate) fn log_out(_: &Call<'_>) -> Reply {
    Ok(Answer::done())
}

pub(super) fn try_password(
    call: &Call<'_>,
    peer: IpAddr,
    credentials: (&str, &str),
) -> Result<Identity, Failure> {
    let visit = &call.request.visit;
    let known = visit.try_password(call.broker(), peer, credentials)?;
    known.ok_or_else(|| {
        call.management
            .refuse_password(credentials.0, peer, call.now)
    })
}

/// How the web pages log their users in.
pub(crate) fn oauth(call: &Call<'_>) -> Reply {
    let settings = match &call.management.options.oauth {
        None => json!({"oauth_enabled": false}),
        Some(oauth) => settings(oauth),
    };
    Ok(Answer::value(&settings))
}

fn settings(oauth: &Oauth) -> Value {
    let mut server = Map::new();
    server.insert("id".into(), oauth.resource_server_id.clone().into());
    server.insert(
        "oauth_provider_url".into(),
        oauth.provider_url.clone().into(),
    );
    let mut all = Map::new();
    all.insert("oauth_enabled".into(), true.into());
    all.insert(
        "oauth_disable_basic_auth".into(),
        oauth.hides_basic_authentication.into(),
    );
    for (name, value) in [
        ("oauth_client_id", &oauth.client_id),
        ("oauth_client_secret", &oauth.client_secret),
        ("oauth_scopes", &oauth.scopes),
    ] {
        if let Some(value) = value {
            all.insert(name.into(), value.clone().into());
        }
    }
    if let Some(url) = &oauth.metadata_url {
        server.insert("oauth_metadata_url".into(), url.clone().into());
    }
    if oauth.is_idp_initiated {
        all.insert("oauth_initiated_logon_type".into(), "idp_initiated".into());
    }
    for (name, parameters) in [
        (
            "oauth_authorization_endpoint_params",
            &oauth.authorization_endpoint_parameters,
        ),
        (
            "oauth_token_endpoint_params",
            &oauth.token_endpoint_parameters,
        ),
    ] {
        if !parameters.is_empty() {
            all.insert(name.into(), json!(parameters));
        }
    }
    let servers = json!({oauth.resource_server_id.clone(): server});
    all.insert("oauth_resource_servers".into(), servers);
    all.into()
}
