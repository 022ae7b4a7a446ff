//! The flags that switch collectors on and off. They come from the table of collectors.

use clap::{Arg, ArgAction, Args, FromArgMatches};

use crate::{
    collectors::{self, Definition},
    model::collector::Collectors,
};

/// A pair of flags for each optional collector in the table: `--collector.NAME` and `--no-collector.NAME`. The last
/// one counts.
#[derive(Clone, Debug)]
pub(super) struct Switches(pub(super) Collectors);

impl Switches {
    fn all() -> impl Iterator<Item = (&'static Definition, String)> {
        let optional = collectors::ALL.iter().filter(|collector| collector.is_optional);
        optional.map(|collector| (collector, format!("no_{}", collector.name.as_str())))
    }
}

impl Args for Switches {
    fn augment_args(mut command: clap::Command) -> clap::Command {
        for (collector, no) in Self::all() {
            let name = collector.name.as_str();
            let upper = name.to_ascii_uppercase();
            let on = Arg::new(name)
                .long(format!("collector.{name}"))
                .env(format!("NETMON_COLLECTOR_{upper}"))
                .value_name(upper)
                .help(collector.summary.trim_end_matches('.'))
                .overrides_with(&no)
                .default_value("true")
                .action(ArgAction::Set)
                .value_parser(clap::value_parser!(bool))
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true");
            let off = Arg::new(&no)
                .long(format!("no-collector.{name}"))
                .overrides_with(name)
                .action(ArgAction::SetTrue)
                .hide(true);
            command = command.arg(on).arg(off);
        }
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Switches {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let is_off = |(collector, no): &(&Definition, String)| {
            let is_on = matches.get_one::<bool>(collector.name.as_str());
            is_on == Some(&false) || matches.get_flag(no)
        };
        let off = Self::all().filter(is_off).map(|(collector, _)| collector.name);
        Ok(Self(Collectors::all_but(off)))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
