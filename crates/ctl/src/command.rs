//! What a command is: data and two functions. All of them are in [`crate::commands`].

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::call::Call;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{Format, Output};
use crate::term::{Kind, Term};
use crate::tool::Tool;

/// A command of one or more tools.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// Its arguments and options, as RabbitMQ's usage shows them.
    pub(crate) usage: &'static str,
    pub(crate) about: &'static str,
    pub(crate) section: Section,
    pub(crate) tools: &'static [Tool],
    /// How many arguments it takes.
    pub(crate) arity: RangeInclusive<usize>,
    pub(crate) switches: &'static [Switch],
    /// The columns it can print, if its arguments choose them.
    pub(crate) columns: &'static [Column],
    pub(crate) format: Format,
    /// Whether a table has names above its columns, unless told otherwise.
    pub(crate) headers: bool,
    /// What is said before it runs, unless `--quiet`; one line or several. Empty for nothing.
    pub(crate) banner: fn(&Call<'_>) -> String,
    /// Looks at the arguments before anything is said or done.
    pub(crate) check: fn(&Call<'_>) -> Result<(), Failure>,
    pub(crate) run: fn(&Call<'_>, &Node) -> Result<Output, Failure>,
}

/// An option of one command.
pub(crate) struct Switch {
    pub(crate) name: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) value: SwitchValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SwitchValue {
    Flag,
    Text,
    Number,
}

/// A column of a list: its name, what its values are, and the field of the API's objects that has them.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// A dot leads into an object.
    pub(crate) field: &'static str,
}

/// A column whose field has its name.
pub(crate) const fn column(name: &'static str, kind: Kind) -> Column {
    Column {
        name,
        kind,
        field: name,
    }
}

pub(crate) const fn plain(name: &'static str, field: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Plain,
        field,
    }
}

impl Column {
    /// The value of this column in an object.
    pub(crate) fn term(&self, object: &Value) -> Term {
        let mut names = self.field.split('.');
        let field = names.try_fold(object, |object, name| object.get(name));
        Term::new(self.kind, field.filter(|value| !value.is_null()))
    }
}

/// Where it stands in the list of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    Help,
    Nodes,
    Cluster,
    Replication,
    Users,
    AccessControl,
    Monitoring,
    Parameters,
    Policies,
    VirtualHosts,
    Queues,
    Upgrade,
    Operations,
    FeatureFlags,
    Configuration,
    Definitions,
    Plugins,
    Other,
    Deprecated,
}

impl Section {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Help => "Help",
            Self::Nodes => "Nodes",
            Self::Cluster => "Cluster",
            Self::Replication => "Replication",
            Self::Users => "Users",
            Self::AccessControl => "Access Control",
            Self::Monitoring => "Monitoring, observability and health checks",
            Self::Parameters => "Parameters",
            Self::Policies => "Policies",
            Self::VirtualHosts => "Virtual hosts",
            Self::Queues => "Queues",
            Self::Upgrade => "Upgrade",
            Self::Operations => "Operations",
            Self::FeatureFlags => "Feature flags",
            Self::Configuration => "Configuration and Environment",
            Self::Definitions => "Definitions",
            Self::Plugins => "Plugin Management",
            Self::Other => "Other",
            Self::Deprecated => "Deprecated",
        }
    }
}

pub(crate) const CTL: &[Tool] = &[Tool::Ctl];
pub(crate) const CTL_AND_DIAGNOSTICS: &[Tool] = &[Tool::Ctl, Tool::Diagnostics];
pub(crate) const DIAGNOSTICS: &[Tool] = &[Tool::Diagnostics];
pub(crate) const QUEUES: &[Tool] = &[Tool::Queues];
pub(crate) const DIAGNOSTICS_AND_QUEUES: &[Tool] = &[Tool::Diagnostics, Tool::Queues];

/// For commands that take a timeout of their own; `-t` stands for it everywhere.
pub(crate) const TIMEOUT: Switch = Switch::number("timeout");

impl Switch {
    pub(crate) const fn flag(name: &'static str) -> Self {
        Self::new(name, SwitchValue::Flag)
    }

    pub(crate) const fn text(name: &'static str) -> Self {
        Self::new(name, SwitchValue::Text)
    }

    pub(crate) const fn number(name: &'static str) -> Self {
        Self::new(name, SwitchValue::Number)
    }

    pub(crate) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn new(name: &'static str, value: SwitchValue) -> Self {
        Self {
            name,
            short: None,
            value,
        }
    }
}

impl Command {
    /// A command of `rabbitmqctl` without options, that says nothing before it runs.
    pub(crate) const fn new(
        section: Section,
        name: &'static str,
        about: &'static str,
        arity: RangeInclusive<usize>,
        run: fn(&Call<'_>, &Node) -> Result<Output, Failure>,
    ) -> Self {
        Self {
            name,
            usage: "",
            about,
            section,
            tools: CTL,
            arity,
            switches: &[],
            columns: &[],
            format: Format::String,
            headers: true,
            banner: |_| String::new(),
            check: |_| Ok(()),
            run,
        }
    }

    pub(crate) const fn usage(mut self, usage: &'static str) -> Self {
        self.usage = usage;
        self
    }

    pub(crate) const fn tools(mut self, tools: &'static [Tool]) -> Self {
        self.tools = tools;
        self
    }

    pub(crate) const fn switches(mut self, switches: &'static [Switch]) -> Self {
        self.switches = switches;
        self
    }

    pub(crate) const fn columns(mut self, columns: &'static [Column]) -> Self {
        self.columns = columns;
        self
    }

    pub(crate) const fn table(mut self) -> Self {
        self.format = Format::Table;
        self
    }

    pub(crate) const fn no_headers(mut self) -> Self {
        self.headers = false;
        self
    }

    pub(crate) const fn pretty_table(mut self) -> Self {
        self.format = Format::PrettyTable;
        self
    }

    pub(crate) const fn banner(mut self, banner: fn(&Call<'_>) -> String) -> Self {
        self.banner = banner;
        self
    }

    pub(crate) const fn check(mut self, check: fn(&Call<'_>) -> Result<(), Failure>) -> Self {
        self.check = check;
        self
    }
}
