//! One node from start to stop.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use leveret_amqp091::connection::{Connection, Limits, RABBITMQ_VERSION};
use leveret_amqp091::sasl::Mechanism;
use leveret_broker::broker::notices::LOG_EXCHANGE;
use leveret_broker::broker::{Broker, Restored};
use leveret_broker::events::EXCHANGE as EVENT_EXCHANGE;
use leveret_broker::options::{FirstDefinitions, Options};
use leveret_broker::queue::Kind;
use leveret_broker::users::{Pattern, Permissions};
use leveret_management::{
    Cors, Host, ListenerFacts, Management, Oauth, Options as ManagementOptions,
};
use leveret_storage::{Log, RealDisk};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::audit::Audit;
use crate::auth;
use crate::clock::Clock;
use crate::cluster;
use crate::config::effective::HttpListener;
use crate::config::{Access, Address, Effective, Loaded, Sources};
use crate::doors::Doors;
use crate::events::EventRing;
use crate::host;
use crate::http::{self, Site, SiteKind};
use crate::io_thread::{IoThreads, Serving};
use crate::listener::{Bound, Listener};
use crate::logs::{Console, Logs};
use crate::measured_disk::{MeasuredDisk, Meter};
use crate::offline::LOG_DIRECTORY;
use crate::operations::Operations;
use crate::pager::PagerThread;
use crate::protocol::{NewProtocol, Protocol};
use crate::reload::{Current, Live, LiveLimits};
use crate::reset::Reset;
use crate::resources::{self, Resources};
use crate::service::ClientListeners;
use crate::service_manager;
use crate::shovels::Shovels;

/// Requests of HTTP that are worked on at the same time; messages have the other cores.
const BLOCKING_THREADS: usize = 2;

/// Runs a node until it is told to stop. `sources` are what `loaded` came from, to be read again on SIGHUP. The error is
/// for the operator.
pub(crate) fn run(
    loaded: Loaded,
    sources: &Sources<'_>,
    logs: Logs,
    started: Instant,
) -> Result<(), String> {
    let config = &loaded.config.clone();
    raise_file_limit();
    std::fs::create_dir_all(&config.data_dir)
        .map_err(|error| format!("data directory {}: {error}", config.data_dir.display()))?;

    // Signals, timers and HTTP; small enough for the main thread. What takes time has a few threads aside.
    let control = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    control.block_on(async {
        let mut signals = Signals::new().map_err(|error| format!("signals: {error}"))?;
        let doors = Doors::open(config)?;
        let clock = Clock::start();
        let meter = Arc::default();
        let (broker, log, resources) = start_broker(config, clock, &meter)?;
        let reset = Reset {
            log: log.clone(),
            data_dir: config.data_dir.clone(),
        };
        reset.resume(&broker)?;
        config.definitions.load(&broker, clock.now())?;
        cluster::introduce(&broker, &config.cluster_tags)?;
        auth::start(config, &broker)?;
        broker
            .login_sources
            .track(config.access.track_attempt_source);
        let pager = PagerThread::start(Arc::clone(&broker))
            .map_err(|error| format!("cannot start the pager: {error}"))?;
        let mut tasks = JoinSet::new();
        let events = EventRing::open(&broker, clock);
        if let Some(vhost) = &broker.options.event_exchange_vhost {
            if !broker.declare_own_exchange(vhost, EVENT_EXCHANGE) {
                warn!(%vhost, "there is no event exchange: its virtual host is not there");
            }
            tasks.spawn(Arc::clone(&events).publish(Arc::clone(&broker)));
        }
        if config.log.exchange.on {
            broker.declare_own_exchange(&config.access.default_vhost, LOG_EXCHANGE);
            if let Some(lines) = logs.lines() {
                let vhost = config.access.default_vhost.clone();
                tasks.spawn(lines.publish(Arc::clone(&broker), vhost, clock));
            }
        }
        tasks.spawn(run_timers(Arc::clone(&broker), clock));
        tasks.spawn(Arc::clone(&resources).watch());
        doors.certificates.watch(&mut tasks);
        let limits = LiveLimits::new(limits(config));
        let serving = Serving {
            clock,
            new_protocol: new_protocol(Arc::clone(&broker), limits.clone()),
            handshake_timeout: Duration::from_millis(config.handshake_timeout_ms),
            tls_handshake_timeout: Duration::from_millis(config.ssl_handshake_timeout_ms),
            certificate_login: config.certificate_login,
        };
        let count = thread::available_parallelism().map_or(1, usize::from);
        let threads = IoThreads::start(count, &serving)
            .map_err(|error| format!("cannot start the I/O threads: {error}"))?;
        let threads = Arc::new(threads);
        let listening = doors.facts();
        let console = logs.console();
        let live = Live {
            logs,
            limits,
            resources: Arc::clone(&resources),
            certificates: doors.certificates,
        };
        let current = Arc::new(Current::new(loaded, live));
        let (of_amqp, of_http) =
            (listening.iter().cloned()).partition(|listener| listener.protocol.starts_with("amqp"));
        let (mut clients, service) =
            ClientListeners::new(doors.amqp, of_amqp, Arc::clone(&threads));
        let audit = Arc::<Audit>::default();
        let shovels = Shovels::new(&broker, clock, &threads);
        let operations = Operations {
            broker: Arc::clone(&broker),
            current: Arc::clone(&current),
            service,
            listeners: of_http,
            audit: Arc::clone(&audit),
            reset,
            shovels: Arc::clone(&shovels),
        };
        let host = host::facts_of(resources, meter);
        let site = Site {
            management: Management::new(
                Arc::clone(&broker),
                management_options(config, operations, host, clock),
                clock.now(),
            ),
            broker: Arc::clone(&broker),
            log,
            clock,
            events,
            kind: SiteKind::Api,
            audit,
            stop: Arc::default(),
        };
        let control_socket = http::open_control_socket(&config.data_dir);
        let (api, metrics) = (listen(doors.api)?, listen(doors.metrics)?);
        clients.open()?;
        announce(config, &listening, started, &console);

        if let Some(listener) = control_socket {
            let idle = Duration::from_millis(config.management.tcp.idle_timeout_ms);
            tasks.spawn(http::serve_operator(listener, site.clone(), idle));
        }
        for (listener, options) in api {
            tasks.spawn(http::serve_all(listener, site.clone(), options));
        }
        for (listener, options) in metrics {
            let site = Site {
                kind: SiteKind::Metrics,
                ..site.clone()
            };
            tasks.spawn(http::serve_all(listener, site, options));
        }
        let stop = Arc::clone(&site.stop);
        tasks.spawn(http::sample(site));
        tasks.spawn(shovels.run());
        service_manager::ready();
        let told = tokio::select! {
            signal = signals.wait_for_stop(|| current.reload(sources)) => {
                info!(signal, "stopping");
                service_manager::stopping();
                Ok(())
            }
            () = stop.notified() => {
                info!("stopping, as an operator asked for");
                service_manager::stopping();
                Ok(())
            }
            // None of them ends by itself, and without timers or listeners a node only seems to run.
            Some(task) = tasks.join_next() => Err(format!("stopped after a fault: {task:?}")),
            fault = clients.run() => Err(format!("stopped after a fault: {fault}")),
        };
        clients.close().await;
        tasks.shutdown().await;
        let threads = Arc::into_inner(threads).expect("the tasks that shared it have ended");
        threads.stop();
        pager.stop();
        broker
            .stop()
            .map_err(|error| format!("the log was not closed: {error}"))?;
        info!("stopped");
        told
    })
}

/// A client costs a file descriptor, and the usual soft limit of 1024 is for programs that use select(2).
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, current = ?limit.current, "cannot raise the limit of open files");
    }
}

/// Opens the log and starts the broker with what is in it.
fn start_broker(
    config: &Effective,
    clock: Clock,
    meter: &Arc<Meter>,
) -> Result<(Arc<Broker>, Log, Arc<Resources>), String> {
    let directory = config.data_dir.join(LOG_DIRECTORY);
    let disk = RealDisk::at(&directory)
        .map_err(|error| format!("log directory {}: {error}", directory.display()))?;
    let mut restored = Restored::default();
    let log = Log::open(
        Arc::new(MeasuredDisk::new(disk, Arc::clone(meter))),
        leveret_storage::Options {
            accept_loss: config.accept_loss,
            ..leveret_storage::Options::default()
        },
        &mut |record| {
            restored.take(record);
        },
    )
    .map_err(|error| error.to_string())?;
    // What is not on disk must not be confirmed, and nobody knows any more what is: the node ends (fsync is not retried).
    log.on_failure(Box::new(|failed| {
        eprintln!("the log can't be written, stopping at once: {failed}");
        std::process::exit(1);
    }));
    for loss in log.losses() {
        error!(%loss, "this part of the log is lost, and was accepted as such");
    }
    info!(
        messages = restored.message_count(),
        clean = log.was_clean(),
        "log opened"
    );
    let broker = Broker::start(options(config), log.clone(), restored, clock.now())
        .map_err(|error| error.to_string())?;
    let resources = Arc::new(Resources::new(Arc::clone(&broker), config));
    let watched = Arc::downgrade(&resources);
    log.on_full(Box::new(move |is_full| {
        if let Some(resources) = watched.upgrade() {
            resources.set_log_full(is_full);
        }
    }));
    Ok((broker, log, resources))
}

fn options(config: &Effective) -> Options {
    let limit = |limit: Option<u64>| limit.and_then(|limit| usize::try_from(limit).ok());
    let permitted = |feature| {
        config
            .deprecated_features
            .get(feature)
            .copied()
            .unwrap_or(true)
    };
    let (limits, access) = (&config.limits, &config.access);
    Options {
        cluster_name: config
            .cluster_name
            .clone()
            .unwrap_or_else(|| config.node_name.clone()),
        node_name: config.node_name.clone(),
        message_bytes_max: limits.message_bytes_max,
        consumers_per_channel_max: limit(limits.consumers_per_channel),
        channels_max: limit(limits.channels),
        vhosts_max: limit(limits.vhosts),
        connections_max: limit(limits.connections),
        queues_max: limit(limits.queues),
        exchanges_max: limit(limits.exchanges),
        relaxed_quorum_redeclaration: config.relaxed_quorum_redeclaration,
        default_queue_kind: Kind::from_name(&config.default_queue_type).unwrap_or(Kind::Classic),
        consumer_timeout_ms: limits.consumer_timeout_ms,
        backlog_bytes_max: resources::backlog_bytes_max(config),
        permit_transient_queues: permitted("transient_nonexcl_queues"),
        permit_global_qos: permitted("global_qos"),
        loopback_users: access
            .loopback_users
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        password_rule: access.validation.password_rule(),
        anonymous_pass: access.anonymous_login_pass.as_str().into(),
        anonymous_user: access.anonymous_login.as_deref().map(Box::from),
        event_exchange_vhost: config.event_exchange.on.then(|| {
            let vhost = config.event_exchange.vhost.as_ref();
            vhost.unwrap_or(&access.default_vhost).as_str().into()
        }),
        interceptors: config.interceptors,
        rates_mode: config.management.rates_mode,
        disabled_queue_kinds: config.disabled_queue_kinds.clone(),
        first: first_definitions(access),
        starts_blank: !config.definitions.paths.is_empty(),
        random: rand::random,
    }
}

/// The virtual host and user of a blank node.
fn first_definitions(access: &Access) -> FirstDefinitions {
    FirstDefinitions {
        vhost: access.default_vhost.clone(),
        user: access.default_user.clone(),
        password: access.default_pass.clone(),
        tags: access
            .default_user_tags
            .iter()
            .map(|tag| tag.as_str().into())
            .collect(),
        permissions: Permissions {
            configure: Pattern::new(&access.default_permissions.configure),
            write: Pattern::new(&access.default_permissions.write),
            read: Pattern::new(&access.default_permissions.read),
        },
    }
}

fn management_options(
    config: &Effective,
    operations: Operations,
    host: Box<dyn Fn() -> Host + Send + Sync>,
    clock: Clock,
) -> ManagementOptions {
    let management = &config.management;
    ManagementOptions {
        body_bytes_max: management.body_bytes_max,
        path_prefix: management.path_prefix.clone(),
        metrics_path: config.prometheus.path.clone(),
        cors: Cors {
            origins: management.cors_origins.values().cloned().collect(),
            max_age_s: management.cors_max_age_s,
        },
        basic_authentication: !management.disable_basic_auth,
        login_session_minutes: management.login_session_minutes,
        oauth: oauth_pages(config),
        rabbitmq_version: RABBITMQ_VERSION,
        leveret_version: env!("CARGO_PKG_VERSION"),
        operations: Box::new(operations),
        data_dir: config.data_dir.display().to_string(),
        config_files: config.files.clone(),
        auth_mechanisms: config.access.auth_mechanisms.values().cloned().collect(),
        clock: Box::new(move || clock.now()),
        host,
    }
}

/// Without a provider there is nowhere to log in, and without an id only the provider's own pages lead here.
fn oauth_pages(config: &Effective) -> Option<Oauth> {
    let (pages, tokens) = (&config.management.oauth, &config.auth.oauth2);
    let provider_url = pages
        .provider_url
        .clone()
        .or_else(|| tokens.root_provider.issuer.clone());
    let can_begin = pages.client_id.is_some() || pages.is_idp_initiated;
    if !pages.enabled || !can_begin {
        return None;
    }
    Some(Oauth {
        resource_server_id: tokens.root.id.clone()?,
        client_id: pages.client_id.clone(),
        client_secret: pages.client_secret.clone(),
        provider_url: provider_url?,
        metadata_url: pages.metadata_url.clone(),
        scopes: pages.scopes.clone(),
        is_idp_initiated: pages.is_idp_initiated,
        hides_basic_authentication: !pages.shows_basic_auth,
        authorization_endpoint_parameters: pages.authorization_endpoint_params.clone(),
        token_endpoint_parameters: pages.token_endpoint_params.clone(),
    })
}

pub(crate) fn limits(config: &Effective) -> Limits {
    Limits {
        heartbeat_s: config.limits.heartbeat_s,
        frame_max: config.limits.frame_max,
        initial_frame_max: config.limits.initial_frame_max,
        channel_max: config.limits.channel_max,
        handshake_timeout_ms: config.handshake_timeout_ms,
        mechanisms: mechanisms(config),
    }
}

fn new_protocol(broker: Arc<Broker>, limits: LiveLimits) -> NewProtocol {
    Arc::new(move |peer, now| -> Box<dyn Protocol> {
        Box::new(Connection::new(
            Arc::clone(&broker),
            limits.now(),
            peer,
            now,
        ))
    })
}

/// A list that names others as well is no reason not to start.
fn mechanisms(config: &Effective) -> Vec<Mechanism> {
    let known = |name: &String| {
        let mechanism = Mechanism::from_name(name);
        if mechanism.is_none() {
            warn!(name, "auth mechanism is not supported, not offered");
        }
        mechanism
    };
    config
        .access
        .auth_mechanisms
        .values()
        .filter_map(known)
        .collect()
}

/// Has queues looked at when their time comes: expiry, timeouts, delayed retries.
async fn run_timers(broker: Arc<Broker>, clock: Clock) {
    loop {
        let next = broker.tick(clock.now());
        let earlier = poll_fn(|context| broker.timers.poll_earlier(context));
        match next {
            None => earlier.await,
            Some(at) => {
                let due = tokio::time::Instant::from_std(clock.instant(at));
                let _ = tokio::time::timeout_at(due, earlier).await;
            }
        }
    }
}

/// Lets HTTP in, once there is something to tell.
fn listen(doors: Vec<(Bound, HttpListener)>) -> Result<Vec<(Listener, HttpListener)>, String> {
    let opened = doors
        .into_iter()
        .map(|(bound, options)| Ok((bound.listen()?, options)));
    opened.collect()
}

/// What an operator looks for first, in plain lines on standard output whatever the log level is.
fn announce(config: &Effective, listening: &[ListenerFacts], started: Instant, console: &Console) {
    let data_dir = config.data_dir.canonicalize();
    let data_dir = data_dir.as_ref().unwrap_or(&config.data_dir).display();
    let mut text = format!(
        "Leveret {}, node {}\n",
        env!("CARGO_PKG_VERSION"),
        config.node_name
    );
    for ListenerFacts { protocol, ip, port } in listening {
        let address = match ip.contains(':') {
            true => format!("[{ip}]:{port}"),
            false => format!("{ip}:{port}"),
        };
        let shown = match *protocol {
            "amqp/ssl" => "amqps",
            other => other,
        };
        text += &format!("listening on {address} ({shown})\n");
    }
    let loopback = |address: &Address| matches!(address, Address::Loopback(_));
    if config.ssl.is_empty() && config.tcp.values().all(loopback) {
        text +=
            "only this machine can connect; `listeners.tcp.default = 5672` opens all interfaces\n";
    }
    text += &format!(
        "data in {data_dir}\nstarted in {} ms\n",
        started.elapsed().as_millis()
    );
    console.print(text.as_bytes());
}

/// The signals that an operator or a service manager sends.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Gives the name of the signal that asks the node to stop.
    /// SIGHUP asks for the configuration to be read again.
    async fn wait_for_stop(&mut self, mut reload: impl FnMut()) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => reload(),
            }
        }
    }
}
