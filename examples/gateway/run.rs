//! The real gateway: from a config file until a signal.

use std::{cell::Cell, io, path::Path, sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::sleep};
use tower_reliability::Event;

use crate::{
    config::{BadConfig, Config},
    listen::Listeners,
    proxy::Gateway,
    server,
    signals::Signals,
};

/// A gateway with a valid config and a bound port. From here on, the user's input cannot be wrong.
pub(crate) struct Ready {
    listeners: Listeners,
    app: Arc<Gateway>,
    drain: Duration,
    drain_delay: Duration,
    /// The routes, to be printed.
    routes: String,
}

/// Reads the config and builds the gateway.
pub(crate) fn load(file: &Path) -> Result<(Config, Gateway), BadConfig> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| BadConfig::new(".", format!("cannot be read: {error}")))?;
    let config = Config::parse(&text)?;
    // The crate logs its events through `tracing` without a listener.
    let gateway = Gateway::new(&config, |_: &Event| {})?;
    Ok((config, gateway))
}

/// Reads the config, builds the gateway and binds its port.
pub(crate) fn prepare(file: &Path, access_log: bool) -> Result<Ready, BadConfig> {
    let (config, mut gateway) = load(file)?;
    gateway.log_access(access_log);
    let listeners = config.listen.bind().map_err(|error| BadConfig::new("listen", error.to_string()))?;
    let Config { drain, drain_delay, .. } = config;
    Ok(Ready { listeners, app: gateway.app(), drain, drain_delay, routes: config.to_string() })
}

impl Ready {
    /// Serves until a signal, then lets open requests finish. A second signal ends them.
    ///
    /// Returns the number of requests that were cut off.
    pub(crate) async fn run(self) -> io::Result<usize> {
        tracing_subscriber::fmt().with_writer(io::stderr).init();
        let mut signals = Signals::catch()?;
        for address in self.listeners.addresses()? {
            println!("listening on http://{address}");
        }
        println!("{}", self.routes.trim_end());

        let signals = Mutex::new(&mut signals);
        let next = async || signals.lock().await.next().await;
        let at_once = |signal| println!("{signal}: stopping at once");
        let (drain, is_hurried) = (self.app.drain().clone(), Cell::new(false));
        let stop = async {
            let signal = next().await;
            let limit = humantime::format_duration(self.drain);
            println!(
                "{signal}: stopping; open requests have {limit} to finish, another signal ends them now"
            );
            drain.begin();
            tokio::select! {
                () = sleep(self.drain_delay) => {}
                signal = next() => { at_once(signal); is_hurried.set(true); }
            }
        };
        let enough = async || {
            if is_hurried.get() {
                return;
            }
            let limit = sleep(self.drain);
            let drained = async {
                let _ = drain.drain().await;
                // The last answers are on their way to their clients.
                limit.await;
            };
            tokio::select! {
                () = drained => {}
                signal = next() => at_once(signal),
            }
        };
        let cut_off = server::serve_gateway(self.listeners, self.app, stop, enough).await;
        match cut_off {
            0 => println!("stopped, every open request was answered"),
            1 => println!("stopped, 1 request was cut off"),
            _ => println!("stopped, {cut_off} requests were cut off"),
        }
        Ok(cut_off)
    }
}
