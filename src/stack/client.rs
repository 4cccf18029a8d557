//! The client: a stack around a service, as one type that a struct can name.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    await_ready::{AwaitReady, ReadyCall},
    layer::ReliabilityStack,
};

/// A service whose type is hidden, called with `&self`. Made by [`ReliabilityStack::service`].
///
/// The type says only what goes in and what comes out, so a struct can name it. A call takes one allocation, which the
/// unboxed service does not. The wait until the service is ready is part of the call, so a timeout of the stack limits
/// it.
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use tower::service_fn;
/// use tower_reliability::{Error, ReliabilityStack, stack::Client};
///
/// #[derive(Clone)]
/// struct Stock {
///     articles: Client<u32, String, Error<Infallible>>,
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stack = ReliabilityStack::builder().timeout(Duration::from_secs(2)).build()?;
/// let backend = service_fn(|n: u32| async move { Ok::<_, Infallible>(format!("article {n}")) });
/// let stock = Stock { articles: stack.service(backend) };
/// assert_eq!(stock.articles.call(7).await?, "article 7");
/// # Ok(()) }
/// ```
///
/// # Clone
///
/// Clones share the service, and so the state of every stage. A clone costs one count of references.
///
/// # Cancellation
///
/// Dropping the future of a call drops the call of the service.
///
/// # Runtime and panics
///
/// The client needs the runtime of its service and does not panic by itself.
pub struct Client<Req, Res, E> {
    service: Arc<dyn Call<Req, Res, E>>,
}

/// The future of a call through a [`Client`].
pub type ClientFuture<Res, E> = Pin<Box<dyn Future<Output = Result<Res, E>> + Send>>;

impl<E, S> ReliabilityStack<E, S> {
    /// A client of `inner`, protected by this stack, with a type that a struct can name.
    ///
    /// All clients and services of this stack share the state of every stage.
    pub fn service<Inner, Req, Res, Err>(&self, inner: Inner) -> Client<Req, Res, Err>
    where
        Self: Layer<AwaitReady<Inner>>,
        <Self as Layer<AwaitReady<Inner>>>::Service:
            ClientService<Req> + Service<Req, Response = Res, Error = Err>,
        Req: Send + 'static,
        Res: 'static,
        Err: 'static,
    {
        Client::new(self.layer(AwaitReady::new(inner)))
    }
}

impl<Req, Res, E> Client<Req, Res, E> {
    /// A client of this service.
    pub fn new<S>(service: S) -> Self
    where
        S: ClientService<Req> + Service<Req, Response = Res, Error = E>,
        Req: Send + 'static,
        Res: 'static,
        E: 'static,
    {
        Self::mapped(service, |result| result)
    }

    /// A client of this service, with another response and another error.
    pub(crate) fn mapped<S>(service: S, map: Map<S, Req, Res, E>) -> Self
    where
        S: ClientService<Req>,
        Req: Send + 'static,
        S::Response: 'static,
        S::Error: 'static,
        Res: 'static,
        E: 'static,
    {
        Self { service: Arc::new(Mapped { service, map }) }
    }

    /// Calls the service as soon as it is ready.
    ///
    /// # Errors
    ///
    /// The error of the service, or of a stage of its stack.
    pub fn call(&self, request: Req) -> ClientFuture<Res, E> {
        self.service.call(request)
    }
}

/// A service of which a [`Client`] can be made: [`Shareable`], with futures that are `Send`.
///
/// Every such service has it.
#[diagnostic::on_unimplemented(
    message = "a client cannot share this service: make it `Clone + Send + Sync + 'static`",
    label = "the calls of a client run on clones of the service, in any task",
    note = "`tower::util::BoxCloneService` is not `Sync`; `BoxCloneSyncService` is",
    note = "`tower::buffer::Buffer` makes a service `Clone`; an `Arc` in the place of an `Rc` makes it `Send`"
)]
pub trait ClientService<Req>: Service<Req, Future: Send> + Shareable {}

impl<S, Req> ClientService<Req> for S where S: Service<Req, Future: Send> + Shareable {}

/// A type that the calls of a [`Client`] can share: `Clone + Send + Sync + 'static`.
///
/// Every such type has it. The trait exists so that the compiler prints a message with the remedy.
#[diagnostic::on_unimplemented(
    message = "a client cannot share `{Self}`: make it `Clone + Send + Sync + 'static`",
    label = "the calls of a client run on clones of the service, in any task",
    note = "`tower::util::BoxCloneService` is not `Sync`; `BoxCloneSyncService` is",
    note = "`tower::buffer::Buffer` makes a service `Clone`; an `Arc` in the place of an `Rc` makes it `Send`"
)]
pub trait Shareable: Clone + Send + Sync + 'static {}

// Without the attribute, the compiler reports the first missing bound of a part of the service, and no remedy.
#[diagnostic::do_not_recommend]
impl<S: Clone + Send + Sync + 'static> Shareable for S {}

/// A service behind a pointer.
trait Call<Req, Res, E>: Send + Sync {
    fn call(&self, request: Req) -> ClientFuture<Res, E>;
}

type Map<S, Req, Res, E> =
    fn(Result<<S as Service<Req>>::Response, <S as Service<Req>>::Error>) -> Result<Res, E>;

struct Mapped<S, M> {
    service: S,
    map: M,
}

impl<S, Req, Res, E> Call<Req, Res, E> for Mapped<S, Map<S, Req, Res, E>>
where
    S: ClientService<Req>,
    Req: Send + 'static,
    S::Response: 'static,
    S::Error: 'static,
    Res: 'static,
    E: 'static,
{
    fn call(&self, request: Req) -> ClientFuture<Res, E> {
        let call = ReadyCall::new(self.service.clone(), request);
        Box::pin(MappedCall { call, map: self.map })
    }
}

/// The future of a call. An `async` block would keep the service and the request beside the future of the service.
#[pin_project]
struct MappedCall<F, M> {
    #[pin]
    call: F,
    map: M,
}

impl<F: Future, T> Future for MappedCall<F, fn(F::Output) -> T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.project();
        this.call.poll(cx).map(this.map)
    }
}

/// Always ready: a call waits for the service in its future.
impl<Req, Res, E> Service<Req> for Client<Req, Res, E> {
    type Response = Res;
    type Error = E;
    type Future = ClientFuture<Res, E>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> ClientFuture<Res, E> {
        self.service.call(request)
    }
}

impl<Req, Res, E> Clone for Client<Req, Res, E> {
    fn clone(&self) -> Self {
        Self { service: Arc::clone(&self.service) }
    }
}

impl<Req, Res, E> fmt::Debug for Client<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
