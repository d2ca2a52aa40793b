//! The variables that Kubernetes makes for Services, which are not settings.
//!
//! A pod gets several of them for each Service of its namespace: one that is called `bento-relay`
//! makes `BENTO_RELAY_SERVICE_HOST`, `BENTO_RELAY_PORT` and more. They are told by name and value
//! together, so that a misspelt key is still refused.

use std::net::{IpAddr, SocketAddr};

/// True if Kubernetes makes such a variable for a Service: `{SERVICE}_SERVICE_HOST=10.0.0.1`,
/// `{SERVICE}_SERVICE_PORT=80`, `{SERVICE}_SERVICE_PORT_{NAME}=80`,
/// `{SERVICE}_PORT=tcp://10.0.0.1:80`, `{SERVICE}_PORT_80_TCP=tcp://10.0.0.1:80`, and the last one
/// with `_PROTO`, `_PORT` and `_ADDR` behind it.
pub(super) fn is_made(name: &str, value: &str) -> bool {
    of_service(name, value) || of_port(name, value)
}

/// The name of the Service, and that of a port, may have the mark within.
fn of_service(name: &str, value: &str) -> bool {
    behind(name, "_SERVICE_").any(|rest| match rest {
        "HOST" => value.parse::<IpAddr>().is_ok(),
        "PORT" => is_port(value),
        _ => {
            rest.strip_prefix("PORT_")
                .is_some_and(|port| !port.is_empty())
                && is_port(value)
        }
    })
}

/// The form of Docker's links.
fn of_port(name: &str, value: &str) -> bool {
    if name.strip_suffix("_PORT").is_some_and(is_service) && is_address(value, None) {
        return true;
    }
    behind(name, "_PORT_").any(|rest| is_of_link(rest, value))
}

/// `8080_TCP`, alone or with a part behind it.
fn is_of_link(rest: &str, value: &str) -> bool {
    let mut parts = rest.splitn(3, '_');
    let (port, protocol) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    if !is_port(port) || !PROTOCOLS.contains(&protocol.to_ascii_lowercase().as_str()) {
        return false;
    }
    match parts.next() {
        None => is_address(value, Some(protocol)),
        Some("PROTO") => value.eq_ignore_ascii_case(protocol),
        Some("PORT") => value == port,
        Some("ADDR") => value.parse::<IpAddr>().is_ok(),
        Some(_) => false,
    }
}

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// The text behind the name of a Service and the mark, wherever the mark is found.
fn behind<'a>(name: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    let found = name
        .match_indices(mark)
        .filter(|(at, _)| is_service(&name[..*at]));
    found.map(move |(at, _)| &name[at + mark.len()..])
}

/// True for what a name of a Service becomes: it neither begins nor ends with a hyphen.
fn is_service(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('_') && !name.ends_with('_')
}

fn is_port(value: &str) -> bool {
    value.parse::<u16>().is_ok()
}

/// `tcp://10.0.0.1:80`
fn is_address(value: &str, protocol: Option<&str>) -> bool {
    let Some((scheme, address)) = value.split_once("://") else {
        return false;
    };
    let is_meant = protocol.is_none_or(|protocol| scheme.eq_ignore_ascii_case(protocol));
    is_meant && PROTOCOLS.contains(&scheme) && address.parse::<SocketAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_made;

    #[test]
    fn what_kubernetes_makes_is_told_by_name_and_value() {
        let made = [
            ("BENTO_RELAY_SERVICE_HOST", "10.0.0.1"),
            ("BENTO_RELAY_SERVICE_HOST", "fd00::1"),
            ("BENTO_RELAY_SERVICE_PORT", "8080"),
            ("BENTO_RELAY_SERVICE_PORT_HTTP_METRICS", "9090"),
            ("BENTO_RELAY_PORT", "tcp://10.0.0.1:8080"),
            ("BENTO_RELAY_PORT", "udp://[fd00::1]:53"),
            ("BENTO_RELAY_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("BENTO_RELAY_PORT_8080_TCP_PROTO", "tcp"),
            ("BENTO_RELAY_PORT_8080_TCP_PORT", "8080"),
            ("BENTO_RELAY_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("BENTO_RELAY_PORT_53_UDP_ADDR", "10.0.0.1"),
            ("BENTO_PORT", "tcp://10.0.0.1:8080"),
            ("BENTO_SERVICE_HOST", "10.0.0.1"),
            ("BENTO_SERVICE_PORT_SERVICE_HOST", "10.0.0.1"),
            ("BENTO_RELAY_SERVICE_PORT_OF_SERVICE_A", "80"),
            ("BENTO_PORT_80_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("BENTO_A__B_SERVICE_HOST", "10.0.0.1"),
        ];
        for (name, value) in made {
            assert!(is_made(name, value), "{name}={value}");
        }
    }

    #[test]
    fn what_somebody_may_have_misspelt_is_not_passed_over() {
        let written = [
            ("BENTO_RELAY_PORT", "8080"),
            ("BENTO_RELAY_PORT", "http://10.0.0.1:8080"),
            ("BENTO_RELAY_PORT", "tcp://relay.local:8080"),
            ("BENTO_RELAY_SERVICE_HOST", "relay.local"),
            ("BENTO_RELAY_SERVICE_PORT", "http"),
            ("BENTO_RELAY_SERVICE_PORT_", "80"),
            ("BENTO_RELAY_PORT_8080_TCP", "8080"),
            ("BENTO_RELAY_PORT_8080_TCP", "udp://10.0.0.1:8080"),
            ("BENTO_RELAY_PORT_8080_TCP_PORT", "9090"),
            ("BENTO_RELAY_PORT_8080_TCP_NAME", "x"),
            ("BENTO_RELAY_PORT_HTTP_TCP", "tcp://10.0.0.1:8080"),
            ("BENTO_RELAY__PORT", "8080"),
            ("BENTO_RELAY___PORT", "tcp://10.0.0.1:8080"),
            ("BENTO_RELAY_WORKERS", "8"),
            ("BENTO_SERVICE", "10.0.0.1"),
        ];
        for (name, value) in written {
            assert!(!is_made(name, value), "{name}={value}");
        }
    }
}
