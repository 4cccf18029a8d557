//! The circuits of the protected gateway, as their events tell.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tower_reliability::{CircuitState, Event, EventKind};

use super::plan::{Kind, Timeline};

/// The circuits that have changed their state, by name. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Circuits(Arc<Mutex<BTreeMap<String, Circuit>>>);

/// The life of one circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Circuit {
    state: CircuitState,
    /// The number of times that the closed circuit opened, and the time of the first.
    openings: u32,
    opened: Duration,
    /// The open periods that ended with a probe.
    probed: u32,
    /// The time at which it closed last.
    closed: Duration,
}

impl Circuits {
    /// A listener that keeps account of the circuits.
    pub(crate) fn listener(&self, timeline: Timeline) -> impl Fn(&Event) + Clone + Send + Sync + 'static {
        let Self(circuits) = self.clone();
        move |event| {
            if let EventKind::CircuitChanged(change) = event.kind {
                let name = event.layer.as_str();
                let name = name.strip_suffix(".circuit_breaker").unwrap_or(name).to_string();
                let mut circuits = circuits.lock().unwrap_or_else(PoisonError::into_inner);
                circuits.entry(name).or_default().enter(change.to, timeline.elapsed());
            }
        }
    }

    /// A copy of the circuits with their names.
    pub(crate) fn all(&self) -> BTreeMap<String, Circuit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Circuit {
    fn enter(&mut self, state: CircuitState, now: Duration) {
        match (self.state, state) {
            (CircuitState::Closed, CircuitState::Open) => {
                if self.openings == 0 {
                    self.opened = now;
                }
                self.openings += 1;
            }
            (_, CircuitState::HalfOpen) => self.probed += 1,
            (_, CircuitState::Closed) => self.closed = now,
            _ => {}
        }
        self.state = state;
    }
}

impl Default for Circuit {
    fn default() -> Self {
        let (opened, closed) = (Duration::ZERO, Duration::ZERO);
        Self { state: CircuitState::Closed, openings: 0, opened, probed: 0, closed }
    }
}

/// The history in one line, such as `opened at 4.7 s, probed 9 ×, closed at 12.1 s`.
impl fmt::Display for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { openings, probed, .. } = *self;
        match openings {
            0 => return f.write_str("closed all the time"),
            1 => write!(f, "opened at {:.1} s", self.opened.as_secs_f64())?,
            _ => write!(f, "opened {openings} ×, first at {:.1} s", self.opened.as_secs_f64())?,
        }
        write!(f, ", probed {probed} ×, ")?;
        match self.state {
            CircuitState::Closed => write!(f, "closed at {:.1} s", self.closed.as_secs_f64()),
            state => write!(f, "now {}", words(state)),
        }
    }
}

/// The circuits of an upstream in a line: the history of a single one, and the states of several.
pub(crate) fn line(circuits: &BTreeMap<String, Circuit>, kind: Kind) -> String {
    let changed: Vec<Circuit> = circuits
        .iter()
        .filter(|(name, _)| name.starts_with(kind.name()))
        .map(|(_, circuit)| *circuit)
        .collect();
    if let ([circuit], 1) = (&changed[..], kind.servers()) {
        return circuit.to_string();
    }
    // A circuit without an event is closed.
    let mut states: Vec<&str> = changed.iter().map(|circuit| words(circuit.state)).collect();
    states.resize(kind.servers().max(states.len()), "closed");
    states.join(", ")
}

const fn words(state: CircuitState) -> &'static str {
    match state {
        CircuitState::HalfOpen => "half-open",
        state => state.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(steps: &[(u64, CircuitState)]) -> Circuit {
        let mut circuit = Circuit::default();
        for (at, state) in steps {
            circuit.enter(*state, Duration::from_millis(*at));
        }
        circuit
    }

    #[test]
    fn the_life_of_a_circuit_fits_in_a_line() {
        use CircuitState::{Closed, HalfOpen, Open};
        let once = [(4_700, Open), (5_200, HalfOpen), (5_300, Open), (12_000, HalfOpen), (12_100, Closed)];
        let line = |steps: &[_]| after(steps).to_string();
        assert_eq!(line(&[]), "closed all the time");
        assert_eq!(line(&once[..1]), "opened at 4.7 s, probed 0 ×, now open");
        assert_eq!(line(&once[..2]), "opened at 4.7 s, probed 1 ×, now half-open");
        assert_eq!(line(&once), "opened at 4.7 s, probed 2 ×, closed at 12.1 s");
        let twice = [&once[..], &[(13_000, Open)]].concat();
        assert_eq!(line(&twice), "opened 2 ×, first at 4.7 s, probed 2 ×, now open");
    }

    #[test]
    fn an_upstream_shows_every_circuit_it_has() {
        let open = after(&[(1_000, CircuitState::Open)]);
        let circuits = BTreeMap::from([("flaky(a)".to_string(), open), ("fading".to_string(), open)]);
        assert_eq!(line(&circuits, Kind::Healthy), "closed");
        assert_eq!(line(&circuits, Kind::Flaky), "open, closed");
        assert_eq!(line(&circuits, Kind::Fading), "opened at 1.0 s, probed 0 ×, now open");
    }
}
