//! Paths of our own about the node.

use super::*;

/// A node that listens, logs and does as it is told; or says that it can't.
#[derive(Default)]
pub(crate) struct Still {
    certificates: Vec<ListenerCertificates>,
    service: Arc<Mutex<Service>>,
    told: Arc<Mutex<Vec<String>>>,
    shovels: Vec<ShovelStatus>,
}

impl Still {
    pub(crate) fn with_certificates(certificates: Vec<ListenerCertificates>) -> Self {
        Self {
            certificates,
            ..Self::default()
        }
    }

    pub(crate) fn with_shovels(states: &[ShovelState]) -> Self {
        let shovel = |(number, state): (usize, &ShovelState)| ShovelStatus {
            vhost: "/".into(),
            name: number.to_string().into(),
            last_changed: "2026-11-27 9:05:00".to_owned(),
            state: state.clone(),
        };
        Self {
            shovels: states.iter().enumerate().map(shovel).collect(),
            ..Self::default()
        }
    }
}

impl Operations for Still {
    fn listeners(&self) -> Vec<ListenerFacts> {
        let amqp = ListenerFacts {
            protocol: "amqp",
            ip: "127.0.0.1".to_owned(),
            port: 5672,
        };
        match self.service.lock().is_open() {
            true => vec![amqp],
            false => Vec::new(),
        }
    }

    fn certificates(&self) -> Vec<ListenerCertificates> {
        self.certificates.clone()
    }

    fn log_files(&self) -> Vec<String> {
        vec!["<stdout>".to_owned()]
    }

    fn lost_log_lines(&self) -> LostLines {
        LostLines {
            console: 3,
            exchange: 0,
        }
    }

    fn log(&self, from: u64, count: usize) -> LogLines {
        LogLines {
            lines: vec![format!("{count} from {from}")],
            next: 9,
        }
    }

    fn audit(&self, _: usize) -> Vec<AuditEntry> {
        vec![AuditEntry {
            time: Timestamp(5),
            user: "guest".to_owned(),
            peer: "::1".to_owned(),
            method: "PUT".to_owned(),
            path: "/api/x".to_owned(),
            status: 204,
        }]
    }

    fn set_log_level(&self, level: &str) -> Result<(), String> {
        self.configure("log.level", level)
    }

    fn configure(&self, key: &str, value: &str) -> Result<(), String> {
        if value.contains("bad") {
            return Err("that is no value".to_owned());
        }
        self.told.lock().push(format!("{key} = {value}"));
        Ok(())
    }

    fn watch_free_disk(&self, on: bool) {
        self.told.lock().push(format!("watch {on}"));
    }

    fn effective_configuration(&self) -> String {
        "heartbeat = 60\n".to_owned()
    }

    fn tls(&self) -> TlsFacts {
        TlsFacts {
            versions: vec!["tlsv1.3"],
            cipher_suites: vec!["TLS_AES_128_GCM_SHA256"],
        }
    }

    fn process(&self) -> ProcessFacts {
        ProcessFacts {
            arguments: vec!["leveret".to_owned()],
            variables: [("RABBITMQ_NODENAME".to_owned(), "rabbit".to_owned())].into(),
        }
    }

    fn machine(&self) -> MachineFacts {
        MachineFacts {
            interfaces: vec![InterfaceFacts {
                name: "lo".to_owned(),
                flags: vec!["up", "loopback"],
                hardware_address: None,
                addresses: vec![AddressFacts {
                    address: [127, 0, 0, 1].into(),
                    netmask: Some([255, 0, 0, 0].into()),
                    broadcast: None,
                }],
            }],
            threads: vec![ThreadFacts {
                id: 7,
                name: "io".to_owned(),
                user_ms: 20,
                system_ms: 10,
            }],
        }
    }

    fn shovels(&self) -> Vec<ShovelStatus> {
        self.shovels.clone()
    }

    fn restart_shovel(&self, vhost: &str, name: &str) -> bool {
        let mut all = self.shovels.iter();
        all.any(|it| (&*it.vhost, &*it.name) == (vhost, name))
    }

    fn service(&self) -> Service {
        *self.service.lock()
    }

    fn change(&self, change: Change, _: Timestamp) -> Result<(), String> {
        if change == Change::Reset {
            return Err("not now".to_owned());
        }
        self.told.lock().push(format!("{change:?}"));
        *self.service.lock() = match change {
            Change::Drain => Service {
                is_suspended: true,
                is_drained: true,
                ..Service::default()
            },
            Change::StopApp => Service {
                is_stopped: true,
                ..Service::default()
            },
            Change::SuspendListeners => Service {
                is_suspended: true,
                ..Service::default()
            },
            _ => Service::default(),
        };
        Ok(())
    }
}

/// A node, and what it has been told.
fn world() -> (World, Arc<Mutex<Vec<String>>>) {
    let still = Still::default();
    let told = Arc::clone(&still.told);
    let world = World::with(|options| options.operations = Box::new(still));
    (world, told)
}

#[test]
fn operators_ask_and_change() {
    let (world, told) = world();
    world.check(
        r#"
        GET /api/leveret/log?lines=3
        200 {"lines":["3 from 0"],"next":9}
        GET /api/leveret/log?from=7
        200 {"lines":["50 from 7"],"next":9}
        GET /api/leveret/log?lines=some
        400 {"error":"bad_request","reason":"lines must be a number"}
        GET /api/leveret/audit
        200 {"items":[{"method":"PUT","path":"/api/x","peer":"::1","status":204,"time":5,"user":"guest"}]}
        GET /api/config/effective
        200 heartbeat = 60
        PUT /api/leveret/log/level {"level":"debug"}
        204
        PUT /api/leveret/log/level {"level":"bad"}
        400 {"error":"bad_request","reason":"that is no value"}
        PUT /api/leveret/alarms/memory {"vm_memory_high_watermark":{"relative":0.5}}
        204
        PUT /api/leveret/alarms/disk {"disk_free_limit":{"absolute":"50MB"}}
        204
        PUT /api/leveret/alarms/disk {"disk_free_limit":{"absolute":5,"relative":1}}
        400 {"error":"bad_request","reason":"disk_free_limit must have either relative or absolute"}
        PUT /api/leveret/alarms/disk {"disk_free_limit":"50MB"}
        400 {"error":"bad_request","reason":"disk_free_limit must have either relative or absolute"}
        PUT /api/leveret/alarms/disk {"monitoring":false}
        204
        PUT /api/leveret/alarms/memory {}
        400 {"error":"bad_request","reason":"[{key_missing,vm_memory_high_watermark}]"}
        POST /api/leveret/node/reset {}
        400 {"error":"bad_request","reason":"not now"}
        POST /api/leveret/node/join_cluster {"node":"rabbit@other"}
        400 {"error":"bad_request","reason":"this node runs by itself: there are no clusters of several nodes yet"}
        DELETE /api/leveret/auth/cache
        204
        GET /api/leveret/tls
        200 {"cipher_suites":["TLS_AES_128_GCM_SHA256"],"versions":["tlsv1.3"]}
        GET /api/leveret/process
        200 {"arguments":["leveret"],"variables":{"RABBITMQ_NODENAME":"rabbit"}}
        GET /api/leveret/machine
        200 {"interfaces":[{"addresses":[{"address":"127.0.0.1","broadcast":null,"netmask":"255.0.0.0"}],"flags":["up","loopback"],"hardware_address":null,"name":"lo"}],"threads":[{"id":7,"name":"io","system_ms":10,"user_ms":20}]}
        "#,
    );
    let expected = [
        "log.level = debug",
        "vm_memory_high_watermark.relative = 0.5",
        "disk_free_limit.absolute = 50MB",
        "watch false",
    ];
    assert_eq!(*told.lock(), expected);
}

#[test]
fn passwords_are_tried_by_administrators() {
    let (mut world, _) = world();
    world.check(
        r#"
        PUT /api/users/ann {"password":"secret","tags":"management"}
        201
        POST /api/leveret/authenticate {"username":"ann","password":"secret"}
        204
        POST /api/leveret/authenticate {"username":"ann","password":"guess"}
        401 {"error":"not_authorized","reason":"user 'ann' - invalid credentials"}
        POST /api/leveret/authenticate {"username":"ann"}
        400 {"error":"bad_request","reason":"[{key_missing,password}]"}
        "#,
    );
    let wrong = r#"POST /api/leveret/authenticate {"username":"ann","password":"guess"}"#;
    assert_eq!(world.ask(wrong).not_before, Some(world.now.plus_ms(3_000)));
    world.user = Some(("ann", "secret"));
    for request in [
        r#"POST /api/leveret/authenticate {"username":"guest","password":"guest"}"#,
        "GET /api/leveret/log",
        "GET /api/leveret/audit",
        "GET /api/config/effective",
        "POST /api/leveret/node/stop {}",
        r#"POST /api/leveret/eval {"expression":"node()."}"#,
    ] {
        assert_eq!(world.ask(request).status, 401, "{request}");
    }
}

#[test]
fn a_node_in_maintenance_is_out_of_service() {
    let (world, _) = world();
    let check = |change: &str, [in_service, ready, port]: [u16; 3], drained: bool| {
        let changed = world.ask(&format!("POST /api/leveret/node/{change} {{}}"));
        assert_eq!(changed.status, 204, "{change}");
        let health = |name| world.ask(&format!("GET /api/health/checks/{name}")).status;
        assert_eq!(health("is-in-service"), in_service, "{change}");
        assert_eq!(health("ready-to-serve-clients"), ready, "{change}");
        assert_eq!(health("port-listener/5672"), port, "{change}");
        let nodes = world.ask("GET /api/nodes?columns=being_drained").json();
        assert_eq!(nodes[0]["being_drained"], drained, "{change}");
    };
    check("resume_listeners", [200, 200, 200], false);
    check("drain", [503, 503, 503], true);
    check("revive", [200, 200, 200], false);
    check("suspend_listeners", [200, 503, 503], false);
    check("stop_app", [503, 503, 503], false);
    check("start_app", [200, 200, 200], false);
}

#[test]
fn a_few_expressions_have_values() {
    let (world, _) = world();
    let check = |expression: &str, expected: &str| {
        let body = serde_json::json!({ "expression": expression });
        let seen = world.ask(&format!("POST /api/leveret/eval {body}"));
        assert_eq!(seen.json()["value"], expected, "{seen:?}");
    };
    check("rabbit_nodes:reached_target_cluster_size().", "true");
    check("node().", &world.management.broker.options.node_name);
    check(" rabbit_nodes : list_running ( ) . ", "[rabbit@localhost]");
    check("rabbit_vhost:list_names().", "[<<\"/\">>]");
    check("rabbit_misc:version()", "\"4.3.6\"");
    check("rabbit_alarm:get_alarms().", "[]");
    check(
        "rabbit_maintenance:is_being_drained_local_read(node()).",
        "false",
    );
    let refused = world.ask(r#"POST /api/leveret/eval {"expression":"os:cmd(\"ls\")."}"#);
    assert_eq!(refused.status, 400);
}

#[test]
fn log_ins_are_counted_by_protocol_and_source() {
    let (mut world, _) = world();
    let node = world.management.broker.options.node_name.clone();
    let attempts = format!("/api/auth/attempts/{node}");
    world.check(&format!(
        r#"
        DELETE {attempts}
        204
        GET {attempts}/source
        200 []
        PUT /api/leveret/auth/attempts/source {{"enabled":true}}
        204
        GET {attempts}
        200 [{{"auth_attempts":3,"auth_attempts_failed":0,"auth_attempts_succeeded":3,"protocol":"http"}},{{"auth_attempts":0,...
        "#
    ));
    world.user = Some(("ann", "guess"));
    assert_eq!(world.ask("GET /api/whoami").status, 401);
    world.user = Some(("guest", "guest"));
    world.check(&format!(
        r#"
        PUT /api/leveret/auth/attempts/source {{"enabled":false}}
        204
        GET {attempts}/source
        200 [{{"auth_attempts":1,"auth_attempts_failed":1,"auth_attempts_succeeded":0,"protocol":"http","remote_address":"127.0.0.1","username":"ann"}},{{"auth_attempts":2,"auth_attempts_failed":0,"auth_attempts_succeeded":2,"protocol":"http","remote_address":"127.0.0.1","username":"guest"}}]
        DELETE {attempts}/source
        204
        GET {attempts}/source
        200 []
        "#
    ));
}
