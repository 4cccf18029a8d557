//! The parts that all stages of one stack share.

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

use crate::{
    call::NoPriority,
    circuit_breaker::CircuitBreakerHandle,
    drain::DrainConfig,
    retry_budget::{RetryBudget, RetryBudgetConfig},
    stack::plan::Plan,
    telemetry::{Listener, Name},
};

/// The parts that all stages of one stack share.
pub struct Common<P, Q> {
    pub(in crate::stack) name: Option<Name>,
    pub(in crate::stack) protocol: P,
    /// Reads the priority of each request.
    pub(in crate::stack) priorities: Q,
    pub(in crate::stack) budget: RetryBudget,
    pub(in crate::stack) listeners: Vec<Arc<dyn Listener>>,
    /// The stack's breaker, once its stage is assembled.
    pub(in crate::stack) circuit: Arc<OnceLock<CircuitBreakerHandle>>,
    /// The stack's keyed breaker, in place of the other one.
    pub(in crate::stack) circuits: Arc<OnceLock<AnyKey>>,
    /// The budgets that a retry and a hedge with state per key share.
    pub(in crate::stack) budgets: Arc<OnceLock<AnyKey>>,
    pub(in crate::stack) plan: Plan,
    /// The numbers of the drain of a server, adapted to its other stages.
    pub(in crate::stack) drain: Option<DrainConfig>,
}

impl<P> Common<P, NoPriority> {
    /// Without name and listeners, and with a budget of its own.
    pub(in crate::stack) fn new(protocol: P) -> Self {
        Self {
            name: None,
            protocol,
            priorities: NoPriority,
            budget: RetryBudget::checked(RetryBudgetConfig::new()),
            listeners: Vec::new(),
            circuit: Arc::default(),
            circuits: Arc::default(),
            budgets: Arc::default(),
            plan: Plan::default(),
            drain: None,
        }
    }
}

impl<P, Q> Common<P, Q> {
    pub(in crate::stack) fn change<P2, Q2>(self, change: impl FnOnce(P, Q) -> (P2, Q2)) -> Common<P2, Q2> {
        let Self { name, protocol, priorities, budget, listeners, circuit, circuits, budgets, plan, drain } =
            self;
        let (protocol, priorities) = change(protocol, priorities);
        Common { name, protocol, priorities, budget, listeners, circuit, circuits, budgets, plan, drain }
    }

    pub(in crate::stack) fn name(&self, stage: &'static str) -> Name {
        match &self.name {
            Some(stack) => Name::from(format!("{}.{stage}", stack.as_str())),
            None => Name::new(stage),
        }
    }
}

impl<P, Q> fmt::Debug for Common<P, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A part with state per key, whose key only the stages of that key know.
pub(in crate::stack) type AnyKey = Box<dyn Any + Send + Sync>;
