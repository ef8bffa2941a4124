use std::sync::atomic::{AtomicU32, Ordering};

use super::effective::{Address, Watermark};
use super::*;

/// A directory of its own for each test, removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "leveret-config-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load_text(text: &str) -> Result<(Effective, Vec<String>), String> {
    load_all(text, &[], &[])
}

/// Loads a file's text, environment variables and `--set`s. The file's path is cut from the messages.
fn load_all(
    text: &str,
    environment: &[(&str, &str)],
    set: &[&str],
) -> Result<(Effective, Vec<String>), String> {
    let folder = Folder::new();
    let path = folder.write("rabbitmq.conf", text);
    let variable = |name: &str| {
        environment
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let sources = Sources {
        file: Some(path),
        data_dir: None,
        accept_loss: false,
        set: set.iter().map(|&s| s.to_owned()).collect(),
        environment: &variable,
    };
    let folder_name = format!("{}/", folder.0.display());
    let cut = |text: String| text.replace(&folder_name, "");
    match load(&sources) {
        Ok(Loaded {
            config, warnings, ..
        }) => {
            // Where the test has put its text.
            let files = Vec::new();
            let config = Effective { files, ..config };
            Ok((config, warnings.into_iter().map(cut).collect()))
        }
        Err(error) => Err(cut(error.to_string())),
    }
}

fn tcp(config: &Effective) -> Vec<Address> {
    config.tcp.values().copied().collect()
}

#[test]
fn nothing_configured_listens_on_loopback_with_rabbitmqs_defaults() {
    let (config, warnings) = load_text("").unwrap();
    assert_eq!(tcp(&config), [Address::Loopback(5672)]);
    assert_eq!(config, Effective::default());
    assert!(warnings.is_empty());
}

#[test]
fn wrong_values_are_named_with_file_line_and_what_is_allowed() {
    let check =
        |text: &str, expected: &str| assert_eq!(load_text(text).unwrap_err(), expected, "{text}");
    check(
        "heartbeat = soon",
        "rabbitmq.conf:1: heartbeat: 'soon' is not an integer from 0 to 65535",
    );
    check(
        "\n\nheartbeat = 70000",
        "rabbitmq.conf:3: heartbeat: '70000' is not an integer from 0 to 65535",
    );
    check(
        "frame_max = 100",
        "rabbitmq.conf:1: frame_max: '100' is not a size from 4096 to 4294967295 bytes, such as 64MiB",
    );
    check(
        "max_message_size = 1GiB",
        "rabbitmq.conf:1: max_message_size: '1GiB' is not a size from 1 to 536870912 bytes, such as 64MiB",
    );
    check(
        "default_queue_type = jms",
        "rabbitmq.conf:1: default_queue_type: 'jms' is not one of classic, quorum, stream",
    );
    check(
        "listeners.tcp.1 = here",
        "rabbitmq.conf:1: listeners.tcp.1: 'here' is not a port or IP:port",
    );
    check(
        "loopback_users.guest = maybe",
        "rabbitmq.conf:1: loopback_users.guest: 'maybe' is not true or false",
    );
    check(
        "loopback_users = guest",
        "rabbitmq.conf:1: loopback_users: 'guest' is not one of none",
    );
    check(
        "max_connections = many",
        "rabbitmq.conf:1: max_connections: 'many' is not an integer from 0 to 18446744073709551615 or infinity",
    );
    check(
        "vm_memory_high_watermark.relative = 60",
        "rabbitmq.conf:1: vm_memory_high_watermark.relative: '60' is not a number from 0.0 to 1.0",
    );
    check(
        "default_pass = encrypted:abc",
        "rabbitmq.conf:1: default_pass: is encrypted, and config_entry_decoder.passphrase is not set",
    );
    check(
        "heartbeat",
        "rabbitmq.conf:1: 'heartbeat' is not `key = value`",
    );
    check(
        "listeners.ssl.default = 5671",
        "listeners.ssl needs ssl_options.certfile and ssl_options.keyfile",
    );
    check(
        "heartbeat = x\nframe_max = 131072\nchannel_max = y",
        "rabbitmq.conf:1: heartbeat: 'x' is not an integer from 0 to 65535\n\
         rabbitmq.conf:3: channel_max: 'y' is not an integer from 0 to 65535",
    );
}

#[test]
fn values_arrive() {
    let text = "
        listeners.tcp.2 = 127.0.0.1:5673
        listeners.tcp.1 = 5674
        channel_max = 10
        connection_max = 3
        consumer_timeout = infinity
        loopback_users.alice = true
        default_user_tags.management = true
        auth_mechanisms.2 = AMQPLAIN
        auth_mechanisms.1 = PLAIN
        anonymous_login_user = none
        deprecated_features.permit.global_qos = true
        vm_memory_high_watermark.absolute = 2GiB
        vm_memory_high_watermark_paging_ratio = 0.25
        default_pass = $(PASSWORD) # not in the file
    ";
    let (config, warnings) = load_all(text, &[("PASSWORD", "a b")], &[]).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let second = Address::At("127.0.0.1:5673".parse().unwrap());
    assert_eq!(tcp(&config), [Address::Everywhere(5674), second]);
    assert_eq!(config.limits.channel_max, 10);
    assert_eq!(config.limits.connections, Some(3));
    assert_eq!(config.limits.consumer_timeout_ms, None);
    assert_eq!(
        config.access.loopback_users.iter().collect::<Vec<_>>(),
        ["alice"]
    );
    assert_eq!(
        config.access.default_user_tags.iter().collect::<Vec<_>>(),
        ["management"]
    );
    assert_eq!(
        config.access.auth_mechanisms.values().collect::<Vec<_>>(),
        ["PLAIN", "AMQPLAIN"]
    );
    assert_eq!(config.access.anonymous_login, None);
    assert_eq!(config.deprecated_features.get("global_qos"), Some(&true));
    assert_eq!(config.memory_high_watermark, Watermark::Absolute(2 << 30));
    assert_eq!(config.paging_ratio, Some(0.25));
    assert_eq!(config.access.default_pass, "a b");
}

#[test]
fn lists_can_be_emptied() {
    let (config, _) =
        load_text("listeners.tcp = none\nloopback_users = none\nloopback_users.guest = false")
            .unwrap();
    assert!(config.tcp.is_empty());
    assert!(config.access.loopback_users.is_empty());
}

#[test]
fn the_environment_beats_the_file_and_the_command_line_beats_both() {
    let text =
        "default_user = file\nlisteners.tcp.default = 1\nlisteners.tcp.other = 2\nheartbeat = 1";
    let environment = [
        ("RABBITMQ_DEFAULT_USER", "environment"),
        ("RABBITMQ_DEFAULT_VHOST", "tests"),
        ("RABBITMQ_NODE_PORT", "3"),
        ("RABBITMQ_NODENAME", "hare@burrow"),
    ];
    let (config, _) = load_all(text, &environment, &[]).unwrap();
    assert_eq!(config.access.default_user, "environment");
    assert_eq!(config.access.default_vhost, "tests");
    assert_eq!(config.node_name, "hare@burrow");
    assert_eq!(tcp(&config), [Address::Everywhere(3)]);

    let set = [
        "default_user=argument",
        "heartbeat = 2",
        "heartbeat=3",
        "listeners.tcp.default=4",
    ];
    let (config, _) = load_all(text, &environment, &set).unwrap();
    assert_eq!(config.access.default_user, "argument");
    assert_eq!(config.limits.heartbeat_s, 3);
    assert_eq!(tcp(&config), [Address::Everywhere(4)]);

    let (config, _) = load_all("", &[("RABBITMQ_NODE_IP_ADDRESS", "::1")], &[]).unwrap();
    assert_eq!(tcp(&config), [Address::At("[::1]:5672".parse().unwrap())]);
}

#[test]
fn errors_outside_the_file_name_their_place() {
    let check = |environment: &[(&str, &str)], set: &[&str], expected: &str| {
        assert_eq!(load_all("", environment, set).unwrap_err(), expected);
    };
    check(
        &[("RABBITMQ_NODE_PORT", "x")],
        &[],
        "environment variable RABBITMQ_NODE_PORT: listeners.tcp.default: 'x' is not a port or IP:port",
    );
    check(
        &[],
        &["heartbeat=x"],
        "--set: heartbeat: 'x' is not an integer from 0 to 65535",
    );
    check(
        &[],
        &["heartbeat"],
        "--set: 'heartbeat' is not `key = value`",
    );
}

#[test]
fn keys_without_meaning_are_named_and_do_not_stop_the_start() {
    let (_, warnings) =
        load_text("mnesia_table_loading_retry_limit = 10\nhartbeat = 10\nlog.syslog = true")
            .unwrap();
    assert_eq!(
        warnings,
        [
            "rabbitmq.conf:1: mnesia_table_loading_retry_limit has no effect here",
            "rabbitmq.conf:2: hartbeat is not a known key, ignored",
            "rabbitmq.conf:3: log.syslog is not supported yet, ignored",
        ]
    );
}

/// Loads a file or a directory, with these variables.
fn load_from(file: PathBuf, environment: &[(&str, &str)]) -> Result<Loaded, String> {
    let variable = |name: &str| {
        let found = environment.iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let sources = Sources {
        file: Some(file),
        data_dir: None,
        accept_loss: false,
        set: Vec::new(),
        environment: &variable,
    };
    load(&sources).map_err(|error| error.to_string())
}

#[test]
fn a_directory_is_read_in_the_order_of_its_names() {
    let folder = Folder::new();
    folder.write("20-late.conf", "heartbeat = 20");
    folder.write("10-early.conf", "heartbeat = 10\nchannel_max = 10");
    folder.write("30-ignored.txt", "heartbeat = 30");
    for path in [folder.0.clone(), folder.0.join("*.conf")] {
        let limits = load_from(path, &[]).unwrap().config.limits;
        assert_eq!((limits.heartbeat_s, limits.channel_max), (20, 10));
    }
}

/// As a container has them below `/etc/rabbitmq`.
#[test]
fn a_directory_of_configuration_has_a_main_file_more_files_and_variables() {
    let folder = Folder::new();
    folder.write("rabbitmq.conf", "heartbeat = 1\nchannel_max = 1");
    folder.write(
        "rabbitmq-env.conf",
        "# here\nNODENAME=hare@burrow\nNODE_PORT=3\n",
    );
    folder.write("advanced.config", "[].");
    std::fs::create_dir(folder.0.join("conf.d")).unwrap();
    folder.write("conf.d/90-user.conf", "heartbeat = 90");
    folder.write("conf.d/10-defaults.conf", "heartbeat = 10");

    let environment = [
        ("RABBITMQ_NODE_PORT", "4"),
        ("RABBITMQ_MNESIA_BASE", "/data"),
    ];
    let Loaded {
        config, warnings, ..
    } = load_from(folder.0.clone(), &environment).unwrap();
    assert_eq!(
        (config.limits.heartbeat_s, config.limits.channel_max),
        (90, 1)
    );
    assert_eq!(config.node_name, "hare@burrow");
    assert_eq!(config.data_dir, Path::new("/data/hare@burrow"));
    assert_eq!(tcp(&config), [Address::Everywhere(4)]);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].ends_with("advanced.config: Erlang terms are not read, ignored"));

    folder.write("rabbitmq-env.conf", "NODENAME=`hostname`");
    let error = load_from(folder.0.clone(), &[]).err().unwrap();
    assert!(error.contains("rabbitmq-env.conf:1: "), "{error}");
}

#[test]
fn the_effective_configuration_says_where_each_value_comes_from_and_no_secret() {
    let folder = Folder::new();
    let text = "heartbeat = 7\ndefault_pass = sesame\ndefault_user = 'a#b'\ndisk_free_limit.relative = 1.5\n\
                listeners.tcp.2 = 2\nlisteners.tcp.10 = 10\nlisteners.ssl = none\nchannel_max = 3";
    let path = folder.write("rabbitmq.conf", text);
    let loaded = load_from(path.clone(), &[("RABBITMQ_DEFAULT_VHOST", "v")]).unwrap();
    let described = loaded.describe();
    let line = |key: &str| {
        let found = described.lines().find(|line| line.contains(key));
        found.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let check = |key, expected: &str| {
        let expected = expected.replace("FILE", &path.display().to_string());
        assert_eq!(line(key), Some(expected), "{key}");
    };
    check("heartbeat", "heartbeat = 7 # FILE:1");
    check("default_pass", "# default_pass = (not shown) # FILE:2");
    check("default_user ", "default_user = 'a#b' # FILE:3");
    check(
        "default_vhost",
        "default_vhost = v # environment variable RABBITMQ_DEFAULT_VHOST",
    );
    check(
        "max_channels_per_connection",
        "max_channels_per_connection = 3 # FILE:8",
    );
    check("frame_max", "frame_max = 131072 # default");
    check("cluster_name", "# cluster_name is not set");
    check(
        "auth_mechanisms.2",
        "auth_mechanisms.2 = AMQPLAIN # default",
    );
    assert_eq!(line("disk_free_limit.absolute"), None);
    assert!(!described.contains("sesame"));
    let (second, tenth) = (described.find("tcp.2 "), described.find("tcp.10 "));
    assert!(second.is_some() && second < tenth);

    // What is printed is a configuration, and the same one but for secrets.
    let again = load_text(&described).unwrap().0;
    let expected = Effective {
        data_dir: again.data_dir.clone(),
        files: Vec::new(),
        ..loaded.config
    };
    let access = Access {
        default_pass: again.access.default_pass.clone(),
        ..expected.access
    };
    assert_eq!(again, Effective { access, ..expected });
}

#[test]
fn what_a_reload_changes_is_told() {
    let folder = Folder::new();
    let check = |before: &str, after: &str, expected: &[(&str, bool)]| {
        let [before, after] = [before, after].map(|text| {
            let path = folder.write("rabbitmq.conf", text);
            load_from(path, &[]).unwrap().given
        });
        let changes = before.changes(&after);
        let found: Vec<_> = changes.iter().map(|c| (c.to_string(), c.live)).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|&(s, live)| (s.to_owned(), live))
            .collect();
        assert_eq!(found, expected);
    };
    check("", "heartbeat = 60", &[]);
    check("", "\nheartbeat = 61", &[("heartbeat: 60 -> 61", true)]);
    check("heartbeat = 61", "", &[("heartbeat: 61 -> 60", true)]);
    check(
        "default_pass = a",
        "default_pass = b",
        &[("default_pass: (not shown) -> (not shown)", false)],
    );
    check(
        "",
        "listeners.tcp = none",
        &[
            ("listeners.tcp: not set -> none", false),
            ("listeners.tcp.1: localhost:5672 -> not set", false),
        ],
    );
    check(
        "disk_free_limit.relative = 1.0",
        "",
        &[("disk_free_limit.relative: 1.0 -> not set", true)],
    );
}

#[test]
fn a_file_that_is_not_there_stops_the_start() {
    let error = load_from(PathBuf::from("/nowhere/rabbitmq.conf"), &[]).err();
    assert!(error.unwrap().starts_with("/nowhere/rabbitmq.conf: "));
}

/// Encrypted by `rabbitmqctl encrypt_conf_value` of RabbitMQ 4.3.6.
#[test]
fn passwords_may_be_encrypted() {
    let value = "encrypted:rxATShr2kCDaAO6NLR9CMy13gexdyQ4VKD9jt6rNNsyDKH5y/cWXqjQddlwBBhEL";
    let text = format!("default_pass = {value}\nconfig_entry_decoder.passphrase = passphrase1");
    let check = |set: &[&str], expected: Result<&str, &str>| {
        let loaded = load_all(&text, &[], set);
        let password = loaded.map(|(config, _)| config.access.default_pass);
        let password = password.as_ref().map(String::as_str);
        assert_eq!(password.map_err(String::as_str), expected);
    };
    check(&[], Ok("s3cret"));
    check(&["default_pass=plain"], Ok("plain"));
    check(
        &["config_entry_decoder.passphrase=wrong"],
        Err("rabbitmq.conf:1: default_pass: can't be decrypted by config_entry_decoder"),
    );
    let error = load_text(&format!("cluster_name = {value}")).unwrap_err();
    assert_eq!(
        error,
        "rabbitmq.conf:1: cluster_name: only passwords can be encrypted"
    );
}
