//! One connection for all questions, which the next question renews after a failure.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use ::redis::{AsyncConnectionConfig, Client, RedisResult, Script, aio::MultiplexedConnection};
use tokio::{
    runtime,
    sync::watch::{self, Receiver},
    task::AbortHandle,
};

use crate::{
    call::BoxError,
    rt::sync::{Mutex, lock},
};

/// The connection, if there is one.
///
/// The manager of the client library keeps a connection that is silent. After a loss of the network, that lasts until the
/// kernel gives it up, which is a quarter of an hour.
pub(super) struct Connection {
    client: Client,
    /// Loaded with each connection, so that a question takes one round trip.
    script: &'static Script,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Counts the connections.
    number: u64,
    attempt: Option<Attempt>,
}

/// A connection that a task makes. A question that gives up does not end it: else, a server that is far away would never
/// be reached.
struct Attempt {
    result: Receiver<Option<RedisResult<()>>>,
    task: AbortHandle,
}

/// A question in flight. Its drop closes the connection, unless the question was [answered](Self::answered).
///
/// A question that waited for the connection never closes it: the wait may have taken most of the time of the question.
/// Else, a connection to a slow server would be closed as soon as it is made, again and again.
#[must_use]
pub(super) struct InFlight<'a> {
    of: &'a Connection,
    number: u64,
    closes: bool,
}

impl Connection {
    pub(super) fn new(client: Client, script: &'static Script) -> Self {
        Self { client, script, current: Mutex::default() }
    }

    /// The connection, a new one if there is none.
    pub(super) async fn get(self: &Arc<Self>) -> Result<(MultiplexedConnection, InFlight<'_>), BoxError> {
        let mut attempt = {
            let mut current = lock(&self.current);
            if let Some(found) = current.in_flight(self) {
                return Ok(found);
            }
            // An attempt that failed, or whose runtime is gone, is over.
            let made = current.attempt.take().filter(|attempt| !attempt.task.is_finished());
            let attempt = made.unwrap_or_else(|| self.connect());
            current.attempt.insert(attempt).result.clone()
        };
        if let Some(Err(error)) = &*attempt.wait_for(Option::is_some).await? {
            return Err(error.clone().into());
        }
        let (connection, mut in_flight) =
            lock(&self.current).in_flight(self).ok_or("the new connection has failed")?;
        in_flight.closes = false;
        Ok((connection, in_flight))
    }

    fn connect(self: &Arc<Self>) -> Attempt {
        let (sender, result) = watch::channel(None);
        let (client, script, connection) = (self.client.clone(), self.script, Arc::downgrade(self));
        let task = runtime::Handle::current().spawn(async move {
            let made = open(&client, script).await;
            let result = made.map(|made| keep(&connection, made));
            // Every question that waited may have given up.
            let _ = sender.send(Some(result));
        });
        Attempt { result, task: task.abort_handle() }
    }
}

impl Current {
    fn in_flight<'a>(&self, of: &'a Connection) -> Option<(MultiplexedConnection, InFlight<'a>)> {
        let connection = self.connection.clone()?;
        Some((connection, InFlight { of, number: self.number, closes: true }))
    }
}

/// Nothing connects for a source that is gone.
impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(attempt) = lock(&self.current).attempt.take() {
            attempt.task.abort();
        }
    }
}

impl InFlight<'_> {
    /// The connection works.
    pub(super) fn answered(mut self) {
        self.closes = false;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.closes {
            return;
        }
        let mut current = lock(&self.of.current);
        // Another question may have made a new one already.
        let gone = if current.number == self.number { current.connection.take() } else { None };
        drop(current);
        drop(gone);
    }
}

async fn open(client: &Client, script: &Script) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(LONGEST))
        .set_response_timeout(Some(LONGEST));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    script.prepare_invoke().load_async(&mut connection).await?;
    Ok(connection)
}

fn keep(of: &Weak<Connection>, made: MultiplexedConnection) {
    let Some(of) = of.upgrade() else { return };
    let mut current = lock(&of.current);
    current.connection = Some(made);
    current.number += 1;
    current.attempt = None;
}

/// The longest timeout of a limit, which ends most questions earlier.
const LONGEST: Duration = Duration::from_secs(10);
