//! The sockets on which the gateway accepts its clients.

use std::{
    fmt, future, io,
    net::{SocketAddr, ToSocketAddrs},
    task::Poll,
};

use serde::Deserialize;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The addresses of the key `listen`. A name such as `localhost` may have one of IPv4 and one of IPv6.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Addresses(Vec<SocketAddr>);

/// Bound sockets. A server accepts from all of them in turn.
#[derive(Debug)]
pub(crate) struct Listeners {
    all: Vec<TcpListener>,
    turn: usize,
}

/// An address that cannot be bound.
#[derive(Debug)]
pub(crate) struct BindError {
    address: SocketAddr,
    error: io::Error,
}

impl Addresses {
    /// Binds every address, for many clients at once.
    ///
    /// An address that this machine does not have is left out, if it has another one: a machine without IPv6 may still
    /// have an IPv6 address for `localhost`.
    pub(crate) fn bind(&self) -> Result<Listeners, BindError> {
        let (mut all, mut absent): (Vec<TcpListener>, _) = (Vec::new(), None);
        for mut address in self.0.iter().copied() {
            if let (0, Some(Ok(first))) = (address.port(), all.first().map(TcpListener::local_addr)) {
                address.set_port(first.port());
            }
            match bind(address) {
                Ok(listener) => all.push(listener),
                Err(error) if is_absent(&error) => absent = Some(BindError { address, error }),
                Err(error) => return Err(BindError { address, error }),
            }
        }
        match absent {
            Some(absent) if all.is_empty() => Err(absent),
            _ => Ok(Listeners { all, turn: 0 }),
        }
    }
}

impl Listeners {
    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.all.iter().map(TcpListener::local_addr).collect()
    }

    /// Waits for the next client. No client is lost when the future is dropped.
    pub(crate) async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        // A busy socket does not keep the clients of the others waiting.
        self.turn = self.turn.wrapping_add(1);
        let (before, after) = self.all.split_at(self.turn % self.all.len());
        future::poll_fn(|cx| {
            let mut accepted = after.iter().chain(before).map(|listener| listener.poll_accept(cx));
            accepted.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }
}

impl From<TcpListener> for Listeners {
    fn from(listener: TcpListener) -> Self {
        Self { all: vec![listener], turn: 0 }
    }
}

impl TryFrom<String> for Addresses {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut addresses: Vec<_> = text.to_socket_addrs().into_iter().flatten().collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            return Err(format!("must be such as \"127.0.0.1:8080\" or \"localhost:8080\", not {text:?}"));
        }
        Ok(Self(addresses))
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, error } = self;
        match error.kind() {
            io::ErrorKind::AddrInUse => write!(f, "{address} is in use by another program"),
            _ => write!(f, "{address} cannot be bound: {error}"),
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A connection of an earlier process does not keep the port from this one.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether the machine lacks the address, or its whole family.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

/// The clients whose connections the kernel accepts before the gateway does. Linux limits it to `somaxconn` too, which is
/// 4096 by default.
const BACKLOG: u32 = 4_096;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn addresses(all: &[&str]) -> Addresses {
        Addresses(all.iter().map(|address| address.parse().expect("an address")).collect())
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_bound_to_one_port_and_accepts() {
        let mut listeners = addresses(&["127.0.0.1:0", "127.0.0.2:0"]).bind().expect("both are free");
        let bound = listeners.addresses().expect("they are bound");
        assert_eq!((bound.len(), bound[0].port()), (2, bound[1].port()));
        let clients = [TcpStream::connect(bound[0]).await, TcpStream::connect(bound[1]).await];
        let mut accepted = BTreeSet::new();
        for _ in &clients {
            let (socket, _) = listeners.accept().await.expect("a client waits");
            accepted.insert(socket.local_addr().expect("it is connected"));
        }
        assert_eq!(accepted, BTreeSet::from_iter(bound));
    }

    #[tokio::test]
    async fn an_address_that_the_machine_lacks_is_left_out_if_there_is_another() {
        // TEST-NET-1 belongs to no machine.
        let listeners = addresses(&["127.0.0.1:0", "192.0.2.1:0"]).bind().expect("one is there");
        assert_eq!(listeners.addresses().expect("it is bound").len(), 1);
        let complaint = addresses(&["192.0.2.1:80"]).bind().expect_err("there is no other").to_string();
        assert!(complaint.starts_with("192.0.2.1:80 cannot be bound: "), "{complaint}");
    }

    #[tokio::test]
    async fn a_port_in_use_is_refused_by_its_address() {
        let taken = addresses(&["127.0.0.1:0"]).bind().expect("it is free");
        let address = taken.addresses().expect("it is bound")[0];
        let complaint = Addresses(vec![address]).bind().expect_err("it is taken").to_string();
        assert_eq!(complaint, format!("{address} is in use by another program"));
    }
}
