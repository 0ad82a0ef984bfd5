//! The HTTP server: binding, serving, stopping. What it serves is in `api`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::api::ApiState;
use super::connection::{LimitedListener, Limits, Peer};
use super::resources::router;
use super::tls::Tls;

/// How long requests that are under way may take once the program stops.
const GRACE: Duration = Duration::from_secs(5);

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}; {advice}")]
pub struct BindError {
    address: SocketAddr,
    advice: &'static str,
    cause: io::Error,
}

/// Takes the address that the server listens on.
///
/// # Errors
/// When it cannot be had, with what to do about it.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|cause| BindError {
        address,
        advice: advice(cause.kind()),
        cause,
    })
}

fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => {
            "stop the program that has this port, choose another one with server.listen, or turn \
             the server off with server.enabled = false"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address, choose one of its own with server.listen"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege, choose a higher one with server.listen"
        }
        _ => "choose another address with server.listen",
    }
}

/// Serves until `shutdown` completes, then lets requests that are under way finish.
///
/// # Errors
/// None at present: a connection that fails is closed and the others go on.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    state: Arc<ApiState>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = LimitedListener::new(listener, Limits::default(), tls);
    serve_limited(listener, state, shutdown).await
}

async fn serve_limited(
    listener: LimitedListener,
    state: Arc<ApiState>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, stopped) = oneshot::channel::<()>();
    let service = router(state).into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async move {
        shutdown.await;
        drop(stopping);
    });
    let out_of_patience = async move {
        // Nothing is ever sent: the channel closes when the shutdown begins.
        drop(stopped.await);
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server => result,
        () = out_of_patience => Ok(()),
    }
}

#[cfg(test)]
mod tests;
