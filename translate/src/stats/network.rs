//! A network namespace's counters.

/// One interface's counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name in the pod.
    pub name: String,
    /// What came in.
    pub received: Traffic,
    /// What went out.
    pub sent: Traffic,
}

/// One direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were broken.
    pub errors: u64,
    /// Packets that found no room.
    pub dropped: u64,
}

/// Tunnels that the kernel puts into every network namespace once their modules are loaded; cAdvisor leaves them
/// out too, and they would bury the pod's own interfaces.
const FALLBACK: [&str; 8] = [
    "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0",
];

/// The pod's interfaces, of `/proc/<pid>/net/dev`: all but the loopback.
pub fn interfaces(text: &str) -> Vec<Interface> {
    text.lines().skip(2).filter_map(interface).collect()
}

fn interface(line: &str) -> Option<Interface> {
    let (name, counters) = line.split_once(':')?;
    let name = name.trim();
    if name == "lo" || FALLBACK.contains(&name) {
        return None;
    }
    let mut counters = counters.split_whitespace().map(|word| word.parse().unwrap_or(0));
    let mut traffic = || {
        let traffic = Traffic {
            bytes: counters.next()?,
            packets: counters.next()?,
            errors: counters.next()?,
            dropped: counters.next()?,
        };
        // fifo, frame, compressed and multicast, or their likes on the other side.
        counters.nth(3)?;
        Some(traffic)
    };
    Some(Interface {
        name: name.to_owned(),
        received: traffic()?,
        sent: traffic()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_left_out() {
        let text = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
 tunl0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0: 10485760    7000   1    2    3     4          5         6     2048      30    7    8    9    10      11         12
  net1:short
";
        let eth0 = Interface {
            name: "eth0".into(),
            received: Traffic {
                bytes: 10_485_760,
                packets: 7000,
                errors: 1,
                dropped: 2,
            },
            sent: Traffic {
                bytes: 2048,
                packets: 30,
                errors: 7,
                dropped: 8,
            },
        };
        assert_eq!(interfaces(text), [eth0]);
        assert_eq!(interfaces(""), []);
    }
}
