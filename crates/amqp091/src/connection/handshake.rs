//! From the first octets to an open connection: protocol header, login, limits, vhost. And the few methods that the
//! connection itself knows afterwards.

use leveret_broker::authority::{Identity, Login, Question, Refused, Verdict};
use leveret_broker::broker::Arrival;
use leveret_broker::connections::{Attempt, Facts, Protocol};
use leveret_broker::mailbox::Event;
use leveret_broker::principal::Principal;
use leveret_broker::table::{Table, Value};
use leveret_broker::time::Timestamp;

use super::input::{decode, unexpected};
use super::{CLOSE_TIMEOUT_MS, Connection, LINGER_MS, Phase, put};
use crate::fault::Fault;
use crate::frame::{Frame, FrameType};
use crate::method::{self, Method, RawTable};
use crate::protocol_header::{self, Negotiation};
use crate::reply_code::ReplyCode;
use crate::sasl::{self, Credentials, Mechanism};

/// What clients are told they talk to: some switch features by it, so it is what we are compatible with (ADR 0003). Who
/// we are stands in `information`.
const PRODUCT: &str = "RabbitMQ";
pub const RABBITMQ_VERSION: &str = "4.3.6";
/// The smallest frame_max that the specification allows (4.2.3); RabbitMQ wants 8192, older clients ask for this.
const FRAME_MAX_LEAST: u32 = 4096;

impl Connection {
    pub(super) fn protocol_header(&mut self, bytes: &[u8]) -> usize {
        match protocol_header::negotiate(bytes) {
            Negotiation::Incomplete => 0,
            Negotiation::Accepted => {
                self.start();
                protocol_header::LEN
            }
            Negotiation::Refused(better) => {
                self.output.buffer().extend_from_slice(&better);
                tracing::info!(connection = %self.peer.name, "closing a connection of another protocol");
                self.phase = Phase::Finished;
                bytes.len()
            }
        }
    }

    fn start(&mut self) {
        let mut properties = Vec::new();
        self.server_properties().encode(&mut properties);
        let offered = self.limits.mechanisms.iter();
        let names: Vec<&str> = offered
            .filter(|mechanism| self.can_offer(**mechanism))
            .map(|mechanism| mechanism.name())
            .collect();
        put(
            &mut self.output,
            0,
            method::ConnectionStart {
                version_major: 0,
                version_minor: 9,
                // Without the length, which the method writes itself.
                server_properties: RawTable(&properties[4..]),
                mechanisms: names.join(" ").as_bytes(),
                locales: b"en_US",
            },
        );
        self.phase = Phase::Starting;
    }

    /// EXTERNAL needs a certificate with a name.
    fn can_offer(&self, mechanism: Mechanism) -> bool {
        mechanism != Mechanism::External || self.peer.certificate_user.is_some()
    }

    /// C02, C03.
    fn server_properties(&self) -> Table {
        const CAPABILITIES: [&str; 9] = [
            "publisher_confirms",
            "exchange_exchange_bindings",
            "basic.nack",
            "consumer_cancel_notify",
            "connection.blocked",
            "consumer_priorities",
            "authentication_failure_close",
            "per_consumer_qos",
            "direct_reply_to",
        ];
        let capabilities = CAPABILITIES
            .into_iter()
            .map(|name| (Box::from(name), Value::Bool(true)))
            .collect();
        let text = |text: &str| Value::String(text.as_bytes().into());
        let information = format!(
            "Leveret {}, licensed under Apache-2.0",
            env!("CARGO_PKG_VERSION")
        );
        [
            ("capabilities", Value::Table(capabilities)),
            ("cluster_name", text(&self.broker.cluster_name())),
            ("copyright", text("Copyright (c) the Leveret authors")),
            ("information", text(&information)),
            ("platform", text("Rust")),
            ("product", text(PRODUCT)),
            ("version", text(RABBITMQ_VERSION)),
        ]
        .into_iter()
        .map(|(name, value)| (Box::from(name), value))
        .collect()
    }

    /// A method on channel 0.
    pub(super) fn connection_method(
        &mut self,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<(), Fault> {
        let method = decode(payload)?;
        match (&self.phase, method) {
            (Phase::Starting, Method::ConnectionStartOk(start)) => self.log_in(&start, now),
            (Phase::Tuning(user), Method::ConnectionTuneOk(tune)) => {
                let user = user.clone();
                self.tune(user, tune, now);
            }
            (Phase::Opening(user), Method::ConnectionOpen(open)) => {
                let user = user.clone();
                self.open(&user, open.virtual_host, now)
                    .map_err(|fault| fault.about(method.ids()))?;
            }
            (Phase::Running(principal), Method::ConnectionUpdateSecret(update)) => {
                let principal = principal.clone();
                self.renew_secret(&principal, update.new_secret);
            }
            (_, Method::ConnectionClose(_)) => self.closed_by_client(now),
            (Phase::Running(_), method) => {
                let text = "unexpected method in connection state running";
                return Err(Fault::new(ReplyCode::ChannelError, text).about(method.ids()));
            }
            _ => self.too_early(FrameType::Method, payload, now)?,
        }
        Ok(())
    }

    /// We have closed: of what was on its way, or is the very frame that was at fault, only a goodbye matters.
    pub(super) fn after_goodbye(&mut self, frame: Frame<'_>) {
        if (frame.kind, frame.channel) != (FrameType::Method, 0) {
            return;
        }
        match Method::decode(frame.payload) {
            Ok(Method::ConnectionCloseOk(_)) => self.phase = Phase::Finished,
            Ok(Method::ConnectionClose(_)) => {
                put(&mut self.output, 0, method::ConnectionCloseOk {});
            }
            _ => {}
        }
    }

    /// Something that has to wait for the end of the handshake.
    pub(super) fn too_early(
        &mut self,
        kind: FrameType,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<(), Fault> {
        match self.phase {
            Phase::Opening(_) => Err(unexpected(kind as u8, payload)),
            _ => {
                tracing::info!(connection = %self.peer.name, "unexpected frame during the handshake");
                self.linger(now);
                Ok(())
            }
        }
    }

    /// Says nothing more, as RabbitMQ does to clients that it does not know yet.
    fn linger(&mut self, now: Timestamp) {
        self.phase = Phase::Lingering {
            until: now.plus_ms(LINGER_MS),
        };
    }

    fn log_in(&mut self, start: &method::ConnectionStartOk<'_>, now: Timestamp) {
        self.read_client_properties(start.client_properties.decode().unwrap_or_default());
        if let Some(identity) = self.peer.identity.take() {
            self.phase = Phase::Authenticating(identity.name.to_string());
            return self.logged_in(Some(identity), now);
        }
        let mechanism = Mechanism::from_name(start.mechanism)
            .filter(|mechanism| self.limits.mechanisms.contains(mechanism))
            .filter(|mechanism| self.can_offer(*mechanism));
        let Some(mechanism) = mechanism else {
            tracing::warn!(connection = %self.peer.name, mechanism = start.mechanism, "unknown authentication mechanism");
            return self.linger(now);
        };
        let Some(credentials) = sasl::read(mechanism, start.response) else {
            tracing::warn!(connection = %self.peer.name, mechanism = mechanism.name(), "malformed response to the login");
            return self.linger(now);
        };
        self.client.mechanism = mechanism.name();
        let loopback = self.peer.remote.ip().is_loopback();
        let (user, password) = match credentials {
            Credentials::Password { user, password } => (user, Some(password)),
            Credentials::Certificate => {
                (self.peer.certificate_user.clone().unwrap_or_default(), None)
            }
            Credentials::Anonymous => {
                self.phase = Phase::Authenticating("(anonymous)".to_owned());
                let identity = self.broker.anonymous(loopback).map(Identity::from);
                return self.logged_in(identity, now);
            }
        };
        self.phase = Phase::Authenticating(user.clone());
        let login = Login {
            user,
            password,
            address: self.peer.remote.ip(),
            mailbox: self.mailbox.clone(),
        };
        if let Some(identity) = self.broker.log_in(login) {
            self.logged_in(identity, now);
        }
    }

    /// It is known who the client is, or that it is nobody who may come in.
    pub(super) fn logged_in(&mut self, identity: Option<Identity>, now: Timestamp) {
        let Phase::Authenticating(user) = &self.phase else {
            // It took too long, or the client has gone.
            return;
        };
        self.resumed = true;
        let loopback = self.peer.remote.ip().is_loopback();
        let welcome = identity.filter(|who| self.broker.may_log_in_from(&who.name, loopback));
        let claimed = user.clone();
        self.note_login(&claimed, welcome.as_ref());
        match welcome {
            Some(identity) => self.offer_limits(identity),
            None => self.refuse_login(&claimed, now),
        }
    }

    /// C16. Passwords do not expire: who has shown one has nothing to renew.
    fn renew_secret(&mut self, principal: &Principal, secret: &[u8]) {
        let Some(authority) = principal.authority.clone() else {
            return put(&mut self.output, 0, method::ConnectionUpdateSecretOk {});
        };
        let mailbox = self.mailbox.clone();
        let answer = move |result| mailbox.put(Event::SecretRenewed(result));
        let secret = String::from_utf8_lossy(secret).into_owned();
        authority.renew(secret, Box::new(answer));
    }

    pub(super) fn secret_renewed(
        &mut self,
        result: Result<Option<Timestamp>, Refused>,
        now: Timestamp,
    ) {
        let Phase::Running(principal) = &self.phase else {
            return;
        };
        let principal = principal.clone();
        let question = Question::Vhost {
            vhost: &principal.vhost_name,
        };
        let authority = principal.authority.as_ref();
        let may_stay = authority.is_none_or(|it| it.decide(question) != Verdict::Deny);
        match result {
            Ok(expires) if may_stay => {
                self.expires = expires;
                self.broker.permissions_have_changed(&principal, now);
                put(&mut self.output, 0, method::ConnectionUpdateSecretOk {});
            }
            _ => {
                let text = "New secret was refused by one of the backends";
                self.fail(&Fault::new(ReplyCode::NotAllowed, text), now);
            }
        }
    }

    fn note_login(&self, claimed: &str, identity: Option<&Identity>) {
        self.broker.note_login(&Attempt {
            protocol: Protocol::Amqp091,
            user: identity.map_or(claimed, |identity| &*identity.name),
            auth_mechanism: self.client.mechanism,
            connection: &self.peer.name,
            peer: self.peer.remote,
            local: self.peer.local,
            tls: self.peer.tls.as_deref(),
            succeeded: identity.is_some(),
        });
    }

    fn read_client_properties(&mut self, properties: Table) {
        let capabilities = properties.get("capabilities").and_then(Value::as_table);
        let capable = |name| {
            capabilities
                .and_then(|table| table.get(name))
                .and_then(Value::as_bool)
                .unwrap_or(false)
        };
        self.client.told_of_refusal = capable("authentication_failure_close");
        self.client.told_of_blocks = capable("connection.blocked");
        self.client.told_of_cancels = capable("consumer_cancel_notify");
        let text = |name| properties.get(name).and_then(Value::as_str);
        self.client.name = text("connection_name").map(str::to_owned);
        self.client.hates_haste = text("product") == Some("aiormq");
        self.client.properties = properties;
    }

    /// C07.
    fn refuse_login(&mut self, user: &str, now: Timestamp) {
        let mechanism = self.client.mechanism;
        tracing::warn!(target: "user", connection = %self.peer.name, user, mechanism, "login refused");
        if !self.client.told_of_refusal {
            return self.linger(now);
        }
        let text = ReplyCode::AccessRefused.text(&format!(
            "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
        ));
        put(
            &mut self.output,
            0,
            method::ConnectionClose {
                reply_code: ReplyCode::AccessRefused.code(),
                reply_text: text.as_bytes(),
                class_id: 0,
                method_id: 0,
            },
        );
        self.phase = Phase::Closing {
            until: now.plus_ms(CLOSE_TIMEOUT_MS),
        };
    }

    fn offer_limits(&mut self, user: Identity) {
        tracing::debug!(connection = %self.peer.name, user = %user.name, "logged in");
        self.client.user = Some(user.name.to_string());
        let limits = &self.limits;
        put(
            &mut self.output,
            0,
            method::ConnectionTune {
                channel_max: limits.channel_max,
                frame_max: limits.frame_max,
                heartbeat: limits.heartbeat_s,
            },
        );
        self.phase = Phase::Tuning(Box::new(user));
    }

    /// C08, but that "no limit" means our limit, and that frames may be as small as the specification allows.
    fn tune(&mut self, user: Box<Identity>, tune: method::ConnectionTuneOk, now: Timestamp) {
        let limits = &self.limits;
        let refusal = if tune.frame_max != 0 && tune.frame_max < FRAME_MAX_LEAST {
            Some((
                "frame_max",
                tune.frame_max,
                "lower than the minimum",
                FRAME_MAX_LEAST,
            ))
        } else if limits.frame_max != 0 && tune.frame_max > limits.frame_max {
            Some((
                "frame_max",
                tune.frame_max,
                "higher than the maximum",
                limits.frame_max,
            ))
        } else if limits.channel_max != 0 && tune.channel_max > limits.channel_max {
            let (channel_max, most) = (tune.channel_max.into(), limits.channel_max.into());
            Some(("channel_max", channel_max, "higher than the maximum", most))
        } else {
            None
        };
        if let Some((name, value, how, bound)) = refusal {
            let text = format!("negotiated {name} = {value} is {how} allowed value ({bound})");
            return self.fail(&Fault::new(ReplyCode::NotAllowed, text), now);
        }
        let or = |value: u32, default: u32| if value == 0 { default } else { value };
        self.client.frame_max = or(tune.frame_max, limits.frame_max);
        self.client.channel_max = or(tune.channel_max.into(), limits.channel_max.into()) as u16;
        self.pulse.heartbeat_ms = u64::from(tune.heartbeat) * 1000;
        self.phase = Phase::Opening(user);
    }

    fn open(&mut self, user: &Identity, vhost: &str, now: Timestamp) -> Result<(), Fault> {
        // Asked once more while connecting; this is where it may have to wait.
        if user.authority.is_some() {
            self.broker.check_vhost(user, vhost)?;
        }
        let facts = self.facts(now);
        let arrival = Arrival {
            connection: self.id,
            user,
            mailbox: &self.mailbox,
            facts,
            activity: &self.activity,
        };
        let principal = self.broker.connect(arrival, vhost)?;
        self.pulse.next_look = now.plus_ms(self.pulse.heartbeat_ms / 2);
        put(&mut self.output, 0, method::ConnectionOpenOk::default());
        tracing::info!(
            connection = %self.peer.name, name = self.client.name.as_deref(), user = %principal.user,
            vhost = %principal.vhost_name, "connection opened"
        );
        self.expires = user.expires;
        self.phase = Phase::Running(principal);
        Ok(())
    }

    /// What listings say of the client.
    fn facts(&mut self, now: Timestamp) -> Facts {
        Facts {
            name: self.peer.name.clone(),
            user_provided_name: self.client.name.clone(),
            peer: Some(self.peer.remote),
            local: Some(self.peer.local),
            protocol: Protocol::Amqp091,
            auth_mechanism: self.client.mechanism,
            tls: self.peer.tls.clone(),
            client_properties: std::mem::take(&mut self.client.properties),
            channel_max: self.client.channel_max,
            frame_max: self.client.frame_max,
            timeout_s: u16::try_from(self.pulse.heartbeat_ms / 1000).unwrap_or(u16::MAX),
            connected_at: now,
        }
    }
}
