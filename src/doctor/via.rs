//! A command that the client is started through: its words, with a terminal and without.

use std::path::Path;

/// Programs whose `exec` takes a terminal only when it is told to.
const CONTAINERS: [&str; 4] = ["docker", "podman", "nerdctl", "kubectl"];

/// Options of `exec` that ask for a terminal or for standard input.
const TERMINAL: [&str; 6] = ["-t", "-i", "-it", "-ti", "--tty", "--interactive"];

/// Options of `exec` whose value is a word of its own.
const VALUED: [&str; 10] =
    ["-e", "--env", "--env-file", "-u", "--user", "-w", "--workdir", "-c", "--container", "--detach-keys"];

/// The words of a prefix as they have to be for a start at a terminal, or without one: a container is asked for a terminal exactly
/// where there is one to connect it with.
pub(super) fn words(prefix: &[String], at_terminal: bool) -> Vec<String> {
    let container = prefix.first().is_some_and(|first| CONTAINERS.iter().any(|name| Path::new(first).ends_with(name)));
    let Some(exec) = prefix.iter().position(|word| word == "exec").filter(|_| container) else {
        return prefix.to_vec();
    };
    let (before, options) = prefix.split_at(exec + 1);
    let mut out = before.to_vec();
    if at_terminal {
        out.push("-it".to_owned());
    }
    let mut rest = options.iter();
    while let Some(word) = rest.next() {
        if TERMINAL.contains(&word.as_str()) {
            continue;
        }
        out.push(word.clone());
        if VALUED.contains(&word.as_str()) {
            out.extend(rest.next().cloned());
        } else if !word.starts_with('-') {
            // What follows the container's name is somebody else's.
            out.extend(rest.cloned());
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(prefix: &str, at_terminal: bool) -> String {
        let prefix: Vec<String> = prefix.split_whitespace().map(str::to_owned).collect();
        words(&prefix, at_terminal).join(" ")
    }

    #[test]
    fn a_container_gets_a_terminal_exactly_where_there_is_one() {
        for (prefix, over_pipes, at_terminal) in [
            ("docker exec box", "docker exec box", "docker exec -it box"),
            ("docker exec -it box", "docker exec box", "docker exec -it box"),
            (
                "/usr/bin/podman exec -t -u me box",
                "/usr/bin/podman exec -u me box",
                "/usr/bin/podman exec -it -u me box",
            ),
            (
                "docker exec -i -e A=-t box sudo -i",
                "docker exec -e A=-t box sudo -i",
                "docker exec -it -e A=-t box sudo -i",
            ),
            ("kubectl exec pod --tty --", "kubectl exec pod --tty --", "kubectl exec -it pod --tty --"),
            ("env -i exec -t", "env -i exec -t", "env -i exec -t"),
            ("docker run box", "docker run box", "docker run box"),
        ] {
            assert_eq!((told(prefix, false), told(prefix, true)), (over_pipes.to_owned(), at_terminal.to_owned()));
        }
    }
}
