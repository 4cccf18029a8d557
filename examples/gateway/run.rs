//! The real gateway: from a config file until a signal.

use std::{io, path::Path, pin::pin, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::oneshot};
use tower_reliability::Event;

use crate::{
    config::{BadConfig, Config},
    proxy::Gateway,
    server,
    signals::Signals,
};

/// A gateway with a valid config and a bound port. From here on, the user's input cannot be wrong.
pub(crate) struct Ready {
    listener: TcpListener,
    app: Arc<Gateway>,
    drain: Duration,
}

/// Reads the config, builds the gateway and binds its port.
pub(crate) async fn prepare(file: &Path) -> Result<Ready, BadConfig> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| BadConfig::new(".", format!("cannot be read: {error}")))?;
    let config = Config::parse(&text)?;
    // The crate logs its events through `tracing` without a listener.
    let gateway = Gateway::new(&config, |_: &Event| {})?;
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        let rule = match error.kind() {
            io::ErrorKind::AddrInUse => "is in use by another program".to_string(),
            _ => error.to_string(),
        };
        BadConfig::new("listen", format!("{} {rule}", config.listen))
    })?;
    Ok(Ready { listener, app: gateway.app(), drain: config.drain })
}

impl Ready {
    /// Serves until a signal, then lets open requests finish. A second signal ends them.
    pub(crate) async fn run(self) -> io::Result<()> {
        tracing_subscriber::fmt().with_writer(io::stderr).init();
        let mut signals = Signals::catch()?;
        println!("listening on http://{}", self.listener.local_addr()?);

        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap_or_default() };
        let mut serving = pin!(server::serve_app(self.listener, self.app, stopped, self.drain));
        tokio::select! {
            _ = &mut serving => {}
            signal = signals.next() => {
                let drain = humantime::format_duration(self.drain);
                println!("{signal}: stopping; open requests have {drain} to finish, another signal ends them now");
            }
        }
        let _ = stop.send(());
        tokio::select! {
            cut_off = serving => match cut_off {
                0 => println!("stopped, every open request was answered"),
                _ => println!("stopped, {cut_off} connections were cut off"),
            },
            signal = signals.next() => println!("{signal}: stopped at once"),
        }
        Ok(())
    }
}
