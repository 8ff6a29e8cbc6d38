//! `ccsmoke init`: a commented `ccsmoke.toml` to start from, made of the built-in profiles, so that it never says other things than
//! they do.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure, all, to_stdout};
use crate::config::{CONFIG_FILE, Profiles};
use crate::near::did_you_mean;
use crate::world::World;

/// Arguments of `ccsmoke init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The gateway: litellm, claude-code-router, nginx, one of their profiles by name, or url for one that runs already
    #[arg(value_name = "GATEWAY")]
    gateway: String,
    /// Where to write it; a file that is there is left alone
    #[arg(long, value_name = "FILE", default_value = CONFIG_FILE)]
    output: PathBuf,
}

/// The gateway's name that stands for one that runs already.
const RUNNING: &str = "url";

const HEADER: &str = "\
# What `ccsmoke run` tests. It finds this file from every folder below this one.
# Each [[target]] is a gateway, or the same gateway in another configuration.

# What a cell and a whole run may use up.
# [limits]
# max_requests = 25
# max_cost_usd = 0.25
# max_run_requests = 500
# max_run_time_s = 1800
# max_run_cost_usd = 2.0
";

const RUNNING_TARGET: &str = "\
# A gateway that runs already, or a provider's own API.
[[target]]
name = \"my-gateway\"
# Without /v1: the client appends /v1/messages itself.
url = \"http://127.0.0.1:4000\"
# The variable with the gateway's credential. The client never sees it, and it is written nowhere.
# auth_token_env = \"MY_GATEWAY_TOKEN\"
# A path that is answered when the gateway is up.
# ready = \"/health\"
# Its log file; what is appended while a cell runs is read.
# log = \"/var/log/my-gateway.log\"
# Certificates to trust beside those of the system, for https.
# ca_file = \"my-ca.pem\"
# Without a real provider: the scripted one listens on this port, and the gateway forwards to http://127.0.0.1:4001.
# upstream = \"anthropic\"
# provider_port = 4001
";

/// What is worth changing about any target.
const COMMON: &str = "\
# Full names are `provider/model`; a name without a provider gets this target's.
# models = [\"sonnet\", \"haiku\"]
# A variable whose list, with commas between the names, replaces `models`.
# models_env = \"MY_MODELS\"
# How many cells may be at it at once.
# max_in_flight = 4
# How many requests its provider takes in a minute; cells start so far apart.
# max_requests_per_minute = 60
";

/// Runs `ccsmoke init`.
pub(super) fn main(args: &InitArgs, world: &World) -> Result<Exit, Failure> {
    let profiles = Profiles::built_in().map_err(|errors| Failure::usage(all(&errors)))?;
    let text = starting_file(&profiles, &args.gateway).ok_or_else(|| {
        let names = profiles.names().collect::<Vec<_>>().join(", ");
        let asked = &args.gateway;
        let families = profiles.names().filter_map(|name| name.rsplit_once('-')).map(|(family, _)| family);
        let hint = did_you_mean(asked, profiles.names().chain(families).chain([RUNNING]));
        Failure::usage(format!(
            "there is no gateway {asked:?}; {hint}there are {names}, and {RUNNING} for one that runs already"
        ))
    })?;
    let path = world.folder.join(&args.output);
    let shown = args.output.display();
    let written = OpenOptions::new().write(true).create_new(true).open(&path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    match written {
        Ok(()) => {
            to_stdout(&format!("wrote {shown}; look through it, then: ccsmoke run\n"))?;
            Ok(Exit::Good)
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(Failure::usage(format!(
            "{shown} is there already and stays as it is; give --output FILE, or move it away"
        ))),
        Err(e) => Err(Failure::usage(format!("{shown} cannot be written: {e}"))),
    }
}

/// The file for a gateway: all profiles of that name or that begin with it, or a running one.
fn starting_file(profiles: &Profiles, gateway: &str) -> Option<String> {
    if gateway == RUNNING {
        return Some(format!("{HEADER}\n{RUNNING_TARGET}{COMMON}"));
    }
    let fits = |name: &str| name.strip_prefix(gateway).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let targets: String =
        profiles.names().filter(|name| fits(name)).filter_map(|name| target(profiles, name)).collect();
    (!targets.is_empty()).then(|| format!("{HEADER}{targets}"))
}

/// A target that starts from a profile, with what the profile says in comments.
fn target(profiles: &Profiles, name: &str) -> Option<String> {
    let text = profiles.text(name)?;
    let about = text.lines().take_while(|line| line.starts_with('#')).map(str::to_owned);
    let target = format!("[[target]]\nprofile = {name:?}\n{COMMON}#");
    let notice = "# What the profile says. A line that you uncomment and change replaces it.".to_owned();
    let body = text.lines().skip_while(|line| line.starts_with('#')).map(within_target);
    let body = body.map(|line| format!("# {line}").trim_end().to_owned());
    let lines = about.chain([target, notice]).chain(body).collect::<Vec<_>>();
    Some(format!("\n{}\n", lines.join("\n")))
}

/// A line of a profile as it is written below `[[target]]`.
fn within_target(line: &str) -> String {
    let brackets = if line.starts_with("[[") { "[[" } else { "[" };
    match line.strip_prefix(brackets) {
        Some(table) => format!("{brackets}target.{table}"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    /// The file with every comment that is TOML taken out of its comment.
    fn uncommented(text: &str) -> String {
        let (_, body) = text.split_once("replaces it.\n").unwrap();
        let (head, _) = text.split_once(COMMON).unwrap();
        let body: Vec<&str> = body.lines().map(|line| line.strip_prefix("# ").unwrap_or("")).collect();
        format!("{head}{}", body.join("\n"))
    }

    #[test]
    fn every_starting_file_is_right_and_means_the_profile_also_with_its_comments_taken_away() {
        let profiles = Profiles::built_in().unwrap();
        assert!(profiles.names().count() > 0);
        for name in profiles.names() {
            let text = starting_file(&profiles, name).unwrap();
            for text in [&text, &uncommented(&text)] {
                let config = Config::parse(Path::new(CONFIG_FILE), text, &profiles).unwrap_or_else(|e| panic!("{e}"));
                let [target] = &config.targets[..] else { panic!("{text}") };
                let mut profile = profiles.get(name).unwrap().clone();
                profile.folder.clone_from(&target.folder);
                assert_eq!(*target, profile);
            }
        }
    }

    #[test]
    fn a_family_of_profiles_is_a_family_of_targets() {
        let profiles = Profiles::built_in().unwrap();
        let targets = |name: &str| {
            let text = starting_file(&profiles, name)?;
            let config = Config::parse(Path::new(CONFIG_FILE), &text, &profiles).unwrap();
            Some(config.targets.into_iter().map(|t| t.name).collect::<Vec<_>>())
        };
        assert_eq!(targets("nginx").unwrap(), ["nginx-defaults", "nginx-tuned"]);
        assert_eq!(targets("claude-code-router").unwrap(), ["claude-code-router"]);
        assert!(targets("litellm").unwrap().contains(&"litellm-anthropic".to_owned()));
        assert_eq!(targets("url").unwrap(), ["my-gateway"]);
        assert_eq!(targets("lite"), None);
        assert_eq!(targets(""), None);
    }
}
