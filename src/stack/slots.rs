//! The machinery of the typed slots, written once for all stages.
//!
//! `stages!` takes the table of stages, outermost first, and makes the builder, the stack, a setter and an accessor
//! per stage, and the nesting of the layers. A further stage is one entry in the table, in `builder.rs`;
//! what the table cannot know is the layer that its config becomes (`stage.rs`) and its numbers in the plan (`plan.rs`).

macro_rules! stages {
    ($( $(#[$doc:meta])* $field:ident $Slot:ident($Config:ty) $([$($layer:tt)*])?; )*) => {
        /// Puts a stack together: names its stages, in any order, and what they have in common.
        ///
        /// Made by [`ReliabilityStack::builder`].
        #[derive(Debug)]
        pub struct StackBuilder<C, R, D, W, $($Slot = Unused),*> {
            common: Common<C, R, D>,
            errors: W,
            $($field: $Slot,)*
        }

        /// One layer made of layers.
        ///
        /// # Clone
        ///
        /// All services made by a stack and by its clones share the state of every stage.
        #[derive(Clone, Debug)]
        pub struct ReliabilityStack<W = WrapLayer, $($Slot = Identity),*> {
            errors: W,
            $($field: $Slot,)*
        }

        impl ReliabilityStack {
            /// A stack without any stage.
            #[must_use]
            pub fn builder() -> StackBuilder<StandardClassifier, CloneRequest, NoDeadline, WrappedErrors> {
                StackBuilder { common: Common::new(Protocol::new()), errors: WrappedErrors, $($field: Unused,)* }
            }
        }

        impl<C, R, D, W, $($Slot),*> StackBuilder<C, R, D, W, $($Slot),*> {
            /// The same stages with something else in common.
            fn with<C2, R2, D2, W2>(
                self,
                change: impl FnOnce(Common<C, R, D>, W) -> (Common<C2, R2, D2>, W2),
            ) -> StackBuilder<C2, R2, D2, W2, $($Slot),*> {
                let (common, errors) = change(self.common, self.errors);
                StackBuilder { common, errors, $($field: self.$field,)* }
            }

            /// Classifies, resends and reads deadlines as this protocol does, in all stages.
            ///
            /// Default: [`Protocol::new`].
            pub fn protocol<C2, R2, D2>(
                self,
                protocol: Protocol<C2, R2, D2>,
            ) -> StackBuilder<C2, R2, D2, W, $($Slot),*> {
                self.with(|common, errors| (common.protocol(|_| protocol), errors))
            }

            /// Decides for all stages what a result means. It sees the errors of the service below.
            ///
            /// Default: [`StandardClassifier`].
            pub fn classify<C2>(self, classifier: C2) -> StackBuilder<C2, R, D, W, $($Slot),*> {
                self.with(|common, errors| (common.protocol(|protocol| protocol.classify(classifier)), errors))
            }

            /// Where all stages find the deadline of a request, and leave it for those below.
            ///
            /// Default: [`NoDeadline`], nowhere. For HTTP requests take `http::RequestExtensions`.
            pub fn deadlines<D2>(self, deadlines: D2) -> StackBuilder<C, R, D2, W, $($Slot),*> {
                self.with(|common, errors| (common.protocol(|protocol| protocol.deadlines(deadlines)), errors))
            }

            /// How requests are copied for a further attempt, and which of them may be sent twice.
            ///
            /// Default: [`CloneRequest`], which clones all of them and takes none for harmful.
            ///
            /// **Around HTTP take `http::HttpResend`**, or begin with `http::stack()`, which has it: [`CloneRequest`] takes a POST
            /// for harmless, and sends it again after it may have been done.
            pub fn resend<R2>(self, resend: R2) -> StackBuilder<C, R2, D, W, $($Slot),*> {
                self.with(|common, errors| (common.protocol(|protocol| protocol.resend(resend)), errors))
            }

            /// Who gives credit for further attempts. Share one among the stacks that talk to the same peer.
            ///
            /// Default: one for this stack, with the numbers of
            /// [`RetryBudgetConfig::new`](crate::retry_budget::RetryBudgetConfig::new).
            #[must_use]
            pub fn retry_budget(mut self, budget: RetryBudget) -> Self {
                self.common.budget = budget;
                self
            }

            /// Leaves the service's error type as it is; it must be `From<Rejected>`, as a `BoxError` or an enum of your own.
            ///
            /// Default: the error is wrapped in [`Error`](crate::Error).
            pub fn flat_errors(self) -> StackBuilder<C, R, D, FlatErrors, $($Slot),*> {
                self.with(|common, _| (common, FlatErrors))
            }

            /// What the stack is called; its stages are then named `name.stage` in rejections and events.
            #[must_use]
            pub fn named(mut self, name: impl Into<Name>) -> Self {
                self.common.name = Some(name.into());
                self
            }

            /// Tells a listener of every [`Event`](crate::Event) in any stage. What happens with every call, a timeout for
            /// example, is counted instead; ask the stage's handle.
            #[must_use]
            pub fn listen(mut self, listener: impl Listener) -> Self {
                self.common.listeners.push(Arc::new(listener));
                self
            }

            /// Checks every number, and all of them together, and makes the stack.
            ///
            /// # Errors
            ///
            /// Names the first field that breaks its rule, and the other one where two do not work together.
            #[expect(private_bounds, reason = "what the linter asks of a stage is nobody else's business")]
            pub fn build(
                self,
            ) -> Result<ReliabilityStack<W::Layer, $(<$Slot as Stage<Common<W::Classifier<C>, R, D>>>::Layer),*>, ConfigError>
            where
                W: Errors,
                $($Slot: Stage<Common<W::Classifier<C>, R, D>> + Planned<$Config>,)*
            {
                let plan = Plan { $($field: Planned::<$Config>::numbers(&self.$field),)* };
                plan.check()?;
                let errors = self.errors;
                let mut common = self.common.protocol(|Protocol { classifier, resend, deadlines }| Protocol {
                    classifier: errors.classifier(classifier),
                    resend,
                    deadlines,
                });
                common.plan = plan;
                Ok(ReliabilityStack {
                    errors: self.errors.layer(),
                    $($field: self.$field.assemble(stringify!($field), &common),)*
                })
            }
        }

        impl<W, $($Slot),*> ReliabilityStack<W, $($Slot),*> {
            $(
                /// The handle of this stage; it exists exactly when the stack has the stage.
                pub fn $field(&self) -> $Slot::Handle
                where
                    $Slot: Handled,
                {
                    self.$field.handle()
                }
            )*
        }

        stages!(@setters [] $( $(#[$doc])* $field $Slot($Config) [$($($layer)*)?]; )*);
        stages!(@nest ($($Slot)*) [] $( $field $Slot; )*);
    };

    // A setter replaces one slot and leaves those before and after it as they are.
    (@setters [$($Before:ident $before:ident)*]) => {};
    (
        @setters [$($before:ident $Before:ident)*]
        $(#[$doc:meta])* $field:ident $Slot:ident($Config:ty) $layer:tt;
        $( $(#[$after_doc:meta])* $after:ident $After:ident($AfterConfig:ty) $after_layer:tt; )*
    ) => {
        impl<C, R, D, W, $($Before,)* $Slot, $($After),*> StackBuilder<C, R, D, W, $($Before,)* $Slot, $($After),*> {
            stages!(
                @setter $layer [$($Before)*] [$($before)*] [$($After)*] [$($after)*]
                $(#[$doc])* $field($Config)
            );
        }
        stages!(
            @setters [$($before $Before)* $field $Slot]
            $( $(#[$after_doc])* $after $After($AfterConfig) $after_layer; )*
        );
    };
    (
        @setter [] [$($Before:ident)*] [$($before:ident)*] [$($After:ident)*] [$($after:ident)*]
        $(#[$doc:meta])* $field:ident($Config:ty)
    ) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(
            self,
            config: impl Into<$Config>,
        ) -> StackBuilder<C, R, D, W, $($Before,)* $Config, $($After),*> {
            StackBuilder {
                common: self.common,
                errors: self.errors,
                $($before: self.$before,)*
                $field: config.into(),
                $($after: self.$after,)*
            }
        }
    };
    (
        @setter [$($Own:ident),*: $Layer:ty]
        [$($Before:ident)*] [$($before:ident)*] [$($After:ident)*] [$($after:ident)*]
        $(#[$doc:meta])* $field:ident($Config:ty)
    ) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field<$($Own),*>(
            self,
            layer: $Layer,
        ) -> StackBuilder<C, R, D, W, $($Before,)* $Layer, $($After),*> {
            StackBuilder {
                common: self.common,
                errors: self.errors,
                $($before: self.$before,)*
                $field: layer,
                $($after: self.$after,)*
            }
        }
    };

    // The table, turned round: the innermost stage is layered first.
    (@nest ($($Slot:ident)*) [$($inside_out:ident $InsideOut:ident;)*]) => {
        impl<S, W, $($Slot),*> Layer<S> for ReliabilityStack<W, $($Slot),*>
        where
            W: Clone,
            $($Slot: Clone,)*
            stages!(@type W; $($InsideOut)*): Layer<S>,
        {
            type Service = <stages!(@type W; $($InsideOut)*) as Layer<S>>::Service;

            fn layer(&self, inner: S) -> Self::Service {
                stages!(@value self.errors.clone(); $(self.$inside_out.clone(),)*).layer(inner)
            }
        }
    };
    (@nest $order:tt [$($done:tt)*] $field:ident $Slot:ident; $($rest:tt)*) => {
        stages!(@nest $order [$field $Slot; $($done)*] $($rest)*);
    };

    (@type $Inner:ty;) => { $Inner };
    (@type $Inner:ty; $Outer:ident $($rest:ident)*) => { stages!(@type Stack<$Inner, $Outer>; $($rest)*) };
    (@value $inner:expr;) => { $inner };
    (@value $inner:expr; $outer:expr, $($rest:tt)*) => { stages!(@value Stack::new($inner, $outer); $($rest)*) };
}

pub(super) use stages;
