//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use leveret_ctl::Tool;

pub(crate) const HELP: &str = "\
Leveret, a message broker that programs written for RabbitMQ can use unchanged.

Usage: leveret [run] [OPTIONS]
       leveret config check [FILE] [OPTIONS]
       leveret config effective [OPTIONS]
       leveret check [DIR]
       leveret dump [DIR]
       leveret backup TARGET [DIR]
       leveret dev-certs DIR [USER]
       leveret ctl | diagnostics | queues | streams | plugins | upgrade COMMAND
       leveret perf COMMAND [OPTIONS]

  run               run a node
  config check      say what is wrong with a configuration, and start nothing
  config effective  print every key, its value and where that comes from, but no passwords
  check             verify every checksum of the data in DIR [default: data], which no node uses,
                    and say what is damaged, and where
  dump              print what the log in DIR says
  backup            copy the data of the node that runs on DIR to the empty directory TARGET,
                    from which another node can start
  dev-certs         make an authority, a server's and a client's certificate for trying TLS;
                    the client's is that of USER [default: guest]
  ctl, diagnostics, queues, streams, plugins, upgrade
                    RabbitMQ's command-line tools: leveret ctl help
  perf              put load on any broker and measure it; see leveret perf --help

Options:
  --config PATH     rabbitmq.conf, or a directory of *.conf files
  --data-dir PATH   where messages and definitions are kept [default: data]
  --accept-loss     start without what is damaged, and name what is lost
  --set KEY=VALUE   any key of rabbitmq.conf; may be repeated, wins over the file
  --keys            print the keys, each with its default
  --version         print the version
  --help            print this
";

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Run(Run),
    ConfigCheck(Run),
    ConfigEffective(Run),
    Check(PathBuf),
    Dump(PathBuf),
    Backup {
        data_dir: PathBuf,
        target: PathBuf,
    },
    DevCerts {
        directory: PathBuf,
        user: String,
    },
    /// What follows is the load generator's.
    Perf(Vec<OsString>),
    Keys,
    Version,
    Help,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) config: Option<PathBuf>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) accept_loss: bool,
    pub(crate) set: Vec<String>,
}

/// Which of RabbitMQ's tools is meant, by the program's name or by a sub-command, and what is left for it.
pub(crate) fn tool<'a>(program: &str, arguments: &'a [String]) -> Option<(Tool, &'a [String])> {
    if let Some(tool) = Tool::of_program(program) {
        return Some((tool, arguments));
    }
    let (word, rest) = arguments.split_first()?;
    Some((Tool::of_subcommand(word)?, rest))
}

/// Reads the arguments behind the program's name. `--option=value` and `--option value` are the same.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter().peekable();
    let mut run = Run::default();
    let mut command: fn(Run) -> Command = Command::Run;
    if arguments.next_if(|argument| argument == "perf").is_some() {
        return Ok(Command::Perf(arguments.map(OsString::from).collect()));
    }
    if let Some(word) =
        arguments.next_if(|argument| ["check", "dump", "backup"].contains(&argument.as_str()))
    {
        return data(&word, arguments);
    }
    if arguments.next_if(|argument| argument == "config").is_some() {
        match arguments.next().as_deref() {
            Some("check") => {
                command = Command::ConfigCheck;
                let file = arguments.next_if(|argument| !argument.starts_with('-'));
                run.config = file.map(PathBuf::from);
            }
            Some("effective") => command = Command::ConfigEffective,
            Some("--help" | "-h") => return Ok(Command::Help),
            _ => return Err("config needs `check` or `effective`".to_owned()),
        }
    } else if arguments
        .next_if(|argument| argument == "dev-certs")
        .is_some()
    {
        return dev_certs(arguments);
    } else {
        arguments.next_if(|argument| argument == "run");
    }
    while let Some(argument) = arguments.next() {
        let (option, attached) = match argument.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let mut value = || {
            attached
                .clone()
                .or_else(|| arguments.next())
                .ok_or_else(|| format!("{option} needs a value"))
        };
        match option {
            "--config" => run.config = Some(value()?.into()),
            "--data-dir" => run.data_dir = Some(value()?.into()),
            "--accept-loss" => run.accept_loss = true,
            "--set" => run.set.push(value()?),
            "--keys" => return Ok(Command::Keys),
            "--version" | "-V" => return Ok(Command::Version),
            "--help" | "-h" => return Ok(Command::Help),
            _ => return Err(format!("unexpected '{argument}'")),
        }
    }
    Ok(command(run))
}

/// The commands about a data directory.
fn data(word: &str, arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut paths = Vec::new();
    for argument in arguments {
        match argument.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            option if option.starts_with('-') => return Err(format!("unexpected '{option}'")),
            path => paths.push(PathBuf::from(path)),
        }
    }
    let mut paths = paths.into_iter();
    let target = (word == "backup").then(|| paths.next());
    let data_dir = paths.next().unwrap_or_else(|| "data".into());
    if let Some(more) = paths.next() {
        return Err(format!("unexpected '{}'", more.display()));
    }
    match target {
        Some(None) => Err("backup needs a directory to copy to".to_owned()),
        Some(Some(target)) => Ok(Command::Backup { data_dir, target }),
        None if word == "check" => Ok(Command::Check(data_dir)),
        None => Ok(Command::Dump(data_dir)),
    }
}

fn dev_certs(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let directory = arguments
        .next()
        .ok_or_else(|| "dev-certs needs a directory".to_owned())?;
    if ["--help", "-h"].contains(&directory.as_str()) {
        return Ok(Command::Help);
    }
    let user = arguments.next().unwrap_or_else(|| "guest".to_owned());
    let directory = directory.into();
    match arguments.next() {
        None => Ok(Command::DevCerts { directory, user }),
        Some(more) => Err(format!("unexpected '{more}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<Command, &str>) {
        let parsed = parse(line.split_whitespace().map(str::to_owned));
        assert_eq!(parsed, expected.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn tools_are_told_by_name_or_sub_command() {
        let arguments = ["ctl", "status"].map(str::to_owned);
        assert_eq!(
            tool("leveret", &arguments),
            Some((Tool::Ctl, &arguments[1..]))
        );
        let found = tool("/usr/sbin/rabbitmq-queues", &arguments);
        assert_eq!(found, Some((Tool::Queues, &arguments[..])));
        assert_eq!(tool("leveret", &["run".to_owned()]), None);
        assert_eq!(tool("leveret", &[]), None);
    }

    #[test]
    fn commands() {
        let run = |config: Option<&str>, data_dir: Option<&str>, set: &[&str]| {
            Ok(Command::Run(Run {
                config: config.map(PathBuf::from),
                data_dir: data_dir.map(PathBuf::from),
                accept_loss: false,
                set: set.iter().map(|&s| s.to_owned()).collect(),
            }))
        };
        check("", run(None, None, &[]));
        check("run", run(None, None, &[]));
        check(
            "--config a.conf --data-dir d",
            run(Some("a.conf"), Some("d"), &[]),
        );
        check("run --set a=1 --set=b=2", run(None, None, &["a=1", "b=2"]));
        let file = |path: &str| Run {
            config: Some(path.into()),
            ..Run::default()
        };
        check(
            "run --accept-loss",
            Ok(Command::Run(Run {
                accept_loss: true,
                ..Run::default()
            })),
        );
        check("check", Ok(Command::Check("data".into())));
        check("dump d", Ok(Command::Dump("d".into())));
        check("check a b", Err("unexpected 'b'"));
        check("backup", Err("backup needs a directory to copy to"));
        let backup = |target: &str, data_dir: &str| {
            Ok(Command::Backup {
                data_dir: data_dir.into(),
                target: target.into(),
            })
        };
        check("backup t", backup("t", "data"));
        check("backup t d", backup("t", "d"));
        check("config check", Ok(Command::ConfigCheck(Run::default())));
        check(
            "config check a.conf",
            Ok(Command::ConfigCheck(file("a.conf"))),
        );
        check(
            "config effective --config a.conf",
            Ok(Command::ConfigEffective(file("a.conf"))),
        );
        check("config effective a.conf", Err("unexpected 'a.conf'"));
        let certs = |directory: &str, user: &str| Command::DevCerts {
            directory: directory.into(),
            user: user.to_owned(),
        };
        check("dev-certs d", Ok(certs("d", "guest")));
        check("dev-certs d alice", Ok(certs("d", "alice")));
        check("dev-certs", Err("dev-certs needs a directory"));
        check("config", Err("config needs `check` or `effective`"));
        check("--version", Ok(Command::Version));
        check("run --help", Ok(Command::Help));
        check(
            "perf latency --help",
            Ok(Command::Perf(vec!["latency".into(), "--help".into()])),
        );
        check("--keys", Ok(Command::Keys));
        check("--config", Err("--config needs a value"));
        check("stop", Err("unexpected 'stop'"));
        check("run run", Err("unexpected 'run'"));
    }
}
