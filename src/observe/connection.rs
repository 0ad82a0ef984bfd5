//! Limits on connections, beneath HTTP: how many there are, how long a request may take to come in
//! and how long a connection may live. Without them a client that sends one byte at a time holds a
//! connection for ever.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// How many connections, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// At once; more wait in the backlog of the operating system. Each serves one request at a
    /// time, so this is also the most requests at once.
    pub(super) connections: usize,
    /// From connecting, or from the last byte of an answer, to the first byte of the next answer.
    /// Longer than the usual 15 s between scrapes, so that these keep their connection.
    pub(super) request: Duration,
    /// Of a connection.
    pub(super) lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            request: Duration::from_secs(30),
            lifetime: Duration::from_secs(600),
        }
    }
}

/// A listener whose connections are limited.
#[derive(Debug)]
pub(super) struct LimitedListener {
    listener: TcpListener,
    limits: Limits,
    slots: Arc<Semaphore>,
}

impl LimitedListener {
    pub(super) fn new(listener: TcpListener, limits: Limits) -> Self {
        Self { listener, limits, slots: Arc::new(Semaphore::new(limits.connections)) }
    }
}

impl Listener for LimitedListener {
    type Io = LimitedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (LimitedStream, SocketAddr) {
        // The semaphore is never closed, so there is always a slot in the end.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let stream = LimitedStream {
            stream,
            request_max: self.limits.request,
            request: Box::pin(sleep(self.limits.request)),
            lifetime: Box::pin(sleep(self.limits.lifetime)),
            _slot: slot,
        };
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when one of its times is up. Only writing renews the time for a
/// request: bytes that trickle in do not.
#[derive(Debug)]
pub(super) struct LimitedStream {
    stream: TcpStream,
    request_max: Duration,
    request: Pin<Box<Sleep>>,
    lifetime: Pin<Box<Sleep>>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl LimitedStream {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let request = self.request.as_mut().poll(context);
        let lifetime = self.lifetime.as_mut().poll(context);
        if request.is_ready() || lifetime.is_ready() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    fn renew<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Ok(_)) = written {
            self.request.as_mut().reset(Instant::now() + self.request_max);
        }
        written
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.renew(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.renew(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
