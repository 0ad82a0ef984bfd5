//! Limits on connections, beneath HTTP: how many there are, how much a request may be, how long it
//! may take to come in and how long a connection may live. Without them a client that sends one
//! byte at a time holds a connection for ever.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::access::Fingerprint;
use super::seats::{Seat, Seats};
use super::tls::Tls;

/// How many connections, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// At once. Each serves one request at a time, so this is also the most requests at once.
    pub(super) connections: usize,
    /// Of a request, head and body, while nothing is answered. Times `connections`, the most that
    /// strangers can make the process hold: 4 MiB.
    pub(super) request_bytes: usize,
    /// From connecting, or from the last byte of an answer, to the first byte of the next answer.
    /// Longer than the usual 15 s between scrapes, so that these keep their connection.
    pub(super) request: Duration,
    /// Of a connection.
    pub(super) lifetime: Duration,
    /// Of shaking hands by TLS.
    pub(super) handshake: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            request_bytes: 64 << 10,
            request: Duration::from_secs(30),
            lifetime: Duration::from_secs(600),
            handshake: Duration::from_secs(5),
        }
    }
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Of the certificate that was shown and verified.
    pub(super) certificate: Option<Fingerprint>,
}

impl Connected<IncomingStream<'_, LimitedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, LimitedListener>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A listener whose connections are limited.
#[derive(Debug)]
pub(super) struct LimitedListener {
    listener: TcpListener,
    limits: Limits,
    seats: Arc<Seats>,
    tls: Option<Tls>,
    shaking: JoinSet<Option<(LimitedStream, Peer)>>,
}

impl LimitedListener {
    pub(super) fn new(listener: TcpListener, limits: Limits, tls: Option<Tls>) -> Self {
        let (seats, shaking) = (Seats::new(limits.connections), JoinSet::new());
        Self { listener, limits, seats, tls, shaking }
    }

    fn seated(&self, stream: Transport, seat: Seat) -> LimitedStream {
        limited(stream, seat, self.limits)
    }

    /// Shakes hands beside everybody else: who is slow at it holds up nobody.
    fn shake(&mut self, tls: Tls, stream: TcpStream, address: SocketAddr) {
        let (seat, limits) = (self.seats.take(), self.limits);
        self.shaking.spawn(async move {
            let evicted = Arc::clone(&seat.evicted);
            let shaken = tokio::select! {
                shaken = timeout(limits.handshake, tls.accept(stream)) => shaken,
                () = evicted.notified() => return None,
            };
            match shaken {
                Ok(Ok((stream, certificate))) => {
                    let stream = Transport::Tls(Box::new(stream));
                    Some((limited(stream, seat, limits), Peer { address, certificate }))
                }
                Ok(Err(error)) => {
                    tracing::warn!(%address, "no connection by TLS: {error}");
                    None
                }
                Err(_) => None,
            }
        });
    }
}

fn limited(stream: Transport, seat: Seat, limits: Limits) -> LimitedStream {
    let evicted = Arc::clone(&seat.evicted);
    LimitedStream {
        stream,
        limits,
        unanswered: 0,
        over: false,
        request: Box::pin(sleep(limits.request)),
        lifetime: Box::pin(sleep(limits.lifetime)),
        evicted: Box::pin(async move { evicted.notified().await }),
        seat,
    }
}

impl Listener for LimitedListener {
    type Io = LimitedStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (LimitedStream, Peer) {
        loop {
            tokio::select! {
                (stream, address) = Listener::accept(&mut self.listener) => {
                    if let Some(tls) = self.tls.clone() {
                        self.shake(tls, stream, address);
                        continue;
                    }
                    let seat = self.seats.take();
                    let peer = Peer { address, certificate: None };
                    return (self.seated(Transport::Plain(stream), seat), peer);
                }
                Some(shaken) = self.shaking.join_next() => {
                    if let Ok(Some(connection)) = shaken {
                        return connection;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { address: self.listener.local_addr()?, certificate: None })
    }
}

#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that fails when one of its times is up, or its seat is somebody else's. Only
/// writing renews the time for a request: bytes that trickle in do not.
pub(super) struct LimitedStream {
    stream: Transport,
    limits: Limits,
    /// Bytes that came since the last that went.
    unanswered: usize,
    over: bool,
    request: Pin<Box<Sleep>>,
    lifetime: Pin<Box<Sleep>>,
    evicted: Pin<Box<dyn Future<Output = ()> + Send>>,
    seat: Seat,
}

impl LimitedStream {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        // What has happened is not asked for again.
        self.over = self.over
            || self.request.as_mut().poll(context).is_ready()
            || self.lifetime.as_mut().poll(context).is_ready()
            || self.evicted.as_mut().poll(context).is_ready();
        if self.over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    fn renew<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Ok(_)) = written {
            self.request.as_mut().reset(Instant::now() + self.limits.request);
            self.unanswered = 0;
            self.seat.served();
        }
        written
    }
}

/// Passes a call on to whichever transport there is.
macro_rules! passed {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.stream {
            Transport::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Transport::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for LimitedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let before = buffer.filled().len();
        let read = passed!(self, stream => stream.poll_read(context, buffer));
        self.unanswered += buffer.filled().len() - before;
        if self.unanswered > self.limits.request_bytes {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        read
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = passed!(self, stream => stream.poll_write(context, bytes));
        self.renew(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = passed!(self, stream => stream.poll_write_vectored(context, slices));
        self.renew(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Of TLS, what was written may still be here.
        self.check(context)?;
        passed!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        passed!(self, stream => stream.poll_shutdown(context))
    }
}
