//! What a service manager is told over `NOTIFY_SOCKET`: ready, alive, stopping.

use std::{
    ffi::OsString,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// The service manager, if one started this process and wants to be told.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// How long it waits for a sign of life before it takes the service for dead.
    watchdog: Option<Duration>,
}

impl Manager {
    /// `None` where nobody is to be told.
    pub fn from_env() -> Option<Self> {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::new(&var("NOTIFY_SOCKET")?, var("WATCHDOG_USEC"), var("WATCHDOG_PID"))
    }

    fn new(socket: &OsString, watchdog: Option<OsString>, pid: Option<OsString>) -> Option<Self> {
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(socket),
        };
        let number = |text: OsString| text.to_str().and_then(|text| text.parse::<u64>().ok());
        let ours = pid.and_then(number).is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = watchdog.and_then(number).filter(|micros| ours && *micros > 0).map(Duration::from_micros);
        Some(Self { socket: UnixDatagram::unbound().ok()?, address: address.ok()?, watchdog })
    }

    /// How often it wants to hear that the service is alive: twice in the time it waits.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
    }

    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        if let Err(error) = self.socket.send_to_addr(state.as_bytes(), &self.address) {
            tracing::warn!(%error, "the service manager cannot be told {state:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_on_a_path_or_on_an_abstract_name_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("gwproxy-test-{}", uuid::Uuid::new_v4());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let by_path = UnixDatagram::bind(&path).unwrap();
        for (socket, address) in [(by_path, path.into_os_string()), (by_name, format!("@{name}").into())] {
            let manager = Manager::new(&address, Some("2000000".into()), None).unwrap();
            assert_eq!(manager.watchdog(), Some(Duration::from_secs(1)));
            manager.ready("on\n6480");
            let mut bytes = [0; 100];
            let length = socket.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"READY=1\nSTATUS=on 6480");
        }
    }

    #[test]
    fn another_process_watchdog_is_none_of_ours() {
        let manager = |pid: u32| Manager::new(&"/run/x".into(), Some("1000".into()), Some(pid.to_string().into()));
        assert!(manager(1).unwrap().watchdog().is_none());
        assert!(manager(std::process::id()).unwrap().watchdog().is_some());
    }
}
