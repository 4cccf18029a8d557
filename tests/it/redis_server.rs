//! A Redis server of a test's own, on a free loopback port, without files.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};

/// Killed when it is dropped.
pub(crate) struct RedisServer {
    port: u16,
    child: Child,
}

impl RedisServer {
    /// # Panics
    ///
    /// If `redis-server` is not installed. `scripts/test` installs it.
    pub(crate) async fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let server = Self { port, child: spawn(port) };
        server.is_up().await;
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// As `kill -9`: no buckets are kept.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// A new server on the same port, without buckets.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.port);
        self.is_up().await;
    }

    /// As `kill -STOP`, or with `false` as `kill -CONT`.
    pub(crate) fn pause(&self, pause: bool) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, if pause { Signal::STOP } else { Signal::CONT }).expect("it is ours");
    }

    /// The number of keys.
    pub(crate) async fn keys(&self) -> u32 {
        let mut connection = self.connect().await.expect("it is up");
        redis::cmd("DBSIZE").query_async(&mut connection).await.expect("a number")
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        redis::Client::open(self.address())?.get_multiplexed_async_connection().await
    }

    async fn is_up(&self) {
        let begin = Instant::now();
        while let Err(error) = self.connect().await {
            assert!(begin.elapsed() < Duration::from_secs(20), "redis-server does not answer: {error}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // A stopped process is killed too. Nothing can be done about a process that is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--dir", &std::env::temp_dir().display().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is not installed: install the package redis-server, or run scripts/test")
}
