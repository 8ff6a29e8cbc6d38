//! Who listens on a port: the gateway that was started, or a process that was there before it.
//!
//! Between the choice of a free port and the gateway's own `bind` anybody can take it. Sockets are matched with processes through
//! `/proc` (`proc_pid_net(5)`, `proc_pid_stat(5)`). Only what is certain is told: a listener that cannot be matched, or that
//! came after the start, may be the gateway's helper outside its process tree, such as a container's port forwarder.

use std::collections::HashSet;
use std::fs;

use crate::process::supervisor::descendants_of;

/// A process that listens on this port, is not below the supervisor, and is older than it.
pub(super) fn stranger_at(port: u16, supervisor: u32) -> Option<u32> {
    let family = descendants_of(supervisor).into_iter().filter_map(|pid| u32::try_from(pid.as_raw()).ok());
    let own: HashSet<u64> = family.flat_map(sockets).collect();
    let foreign: HashSet<u64> = listeners(port).into_iter().filter(|socket| !own.contains(socket)).collect();
    if foreign.is_empty() {
        return None;
    }
    let start = started_at(supervisor)?;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    processes.find(|pid| {
        started_at(*pid).is_some_and(|at| at < start) && sockets(*pid).iter().any(|socket| foreign.contains(socket))
    })
}

/// The inodes of the sockets that listen on this port, at whatever address.
fn listeners(port: u16) -> Vec<u64> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(|line| listener(line, port)).collect()
}

/// The inode in a line of `/proc/net/tcp`, if the socket listens on this port.
fn listener(line: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, local) = fields.next()?.rsplit_once(':')?;
    let (_remote, state) = (fields.next()?, fields.next()?);
    let inode = fields.nth(5)?.parse().ok()?;
    (state == LISTEN && u16::from_str_radix(local, 16) == Ok(port)).then_some(inode)
}

/// The inodes of the sockets that a process holds; none where we may not look.
fn sockets(pid: u32) -> Vec<u64> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
}

/// When a process started, in clock ticks since the machine did.
fn started_at(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let behind_name = stat.iter().rposition(|b| *b == b')')? + 1;
    // The field 22, where the state behind the name is the third.
    std::str::from_utf8(&stat[behind_name..]).ok()?.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_found_by_its_port_and_others_are_not() {
        let line =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31337 1 0 100";
        assert_eq!(listener(line, 8080), Some(31337));
        assert_eq!(listener(line, 8081), None);
        assert_eq!(listener(&line.replace(" 0A ", " 01 "), 8080), None);
        assert_eq!(listener("nonsense", 8080), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_own_listener_is_found_among_the_own_sockets() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = listeners(socket.local_addr().unwrap().port());
        assert_eq!(found.len(), 1);
        assert!(sockets(std::process::id()).contains(&found[0]));
    }
}
