//! Sockets: thin types over the runtime's, so that one place knows how they are set up.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::SendFlags;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Socket buffer sizes and the like.
#[derive(Debug, Clone, Copy, Default)]
pub struct SocketOptions {
    /// `SO_SNDBUF` in bytes; `None` leaves the system's.
    pub send_buffer_bytes: Option<usize>,
    /// `SO_RCVBUF` in bytes; `None` leaves the system's.
    pub receive_buffer_bytes: Option<usize>,
    /// Connections that the kernel holds before they are accepted.
    pub backlog: i32,
}

/// A bound, listening socket that no runtime owns yet; bind before workers start, so that a port
/// in use is an error of the start.
#[derive(Debug)]
pub struct BoundListener(std::net::TcpListener);

impl BoundListener {
    /// Binds and listens. An empty `host` means every address.
    ///
    /// # Errors
    /// The name does not resolve, or those of `bind(2)` and `listen(2)`.
    pub fn bind(host: &str, port: u16, options: SocketOptions) -> io::Result<Self> {
        let host = if host.is_empty() { "0.0.0.0" } else { host };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (host, port).to_socket_addrs()? {
            match Self::bind_address(address, options) {
                Ok(listener) => return Ok(listener),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    fn bind_address(address: SocketAddr, options: SocketOptions) -> io::Result<Self> {
        let socket =
            RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if let Some(bytes) = options.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = options.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if address.ip().is_loopback() {
            do_not_pace(&socket);
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(options.backlog.max(1))?;
        Ok(Self(socket.into()))
    }

    /// Where it listens, with the port that the kernel chose if 0 was asked for.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Gives the listener to the runtime of this worker.
    ///
    /// # Errors
    /// The runtime refuses it.
    pub fn into_listener(self) -> io::Result<Listener> {
        Ok(Listener(TcpListener::from_std(self.0)?))
    }
}

/// Nothing is congested within one machine, but a system's default that paces (BBR) sets a timer
/// for every burst there too, which costs more than the bytes. Connections inherit the choice from
/// their listener (`tcp(7)`, `TCP_CONGESTION`).
fn do_not_pace(socket: &RawSocket) {
    // A system without it keeps its own choice: nothing but time is lost.
    rustix::net::sockopt::set_tcp_congestion(socket, "reno").unwrap_or_default();
}

/// A listening socket of this worker.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// The next connection, and from where.
    ///
    /// # Errors
    /// Those of `accept(2)`; the listener can be asked again.
    pub async fn accept(&self) -> io::Result<(AcceptedSocket, SocketAddr)> {
        let (stream, address) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        Ok((AcceptedSocket(stream.into_std()?), address))
    }
}

/// A connection on its way to the worker that will own it.
#[derive(Debug)]
pub struct AcceptedSocket(std::net::TcpStream);

impl AcceptedSocket {
    /// Gives the connection to the runtime of this worker.
    ///
    /// # Errors
    /// The runtime refuses it.
    pub fn into_socket(self) -> io::Result<Socket> {
        Ok(Socket(TcpStream::from_std(self.0)?))
    }
}

/// A connection of this worker. Reads and writes never wait; [`Socket::readable`] and
/// [`Socket::writable`] do.
#[derive(Debug)]
pub struct Socket(TcpStream);

impl Socket {
    /// Connects to the first address of `host` that answers within `limit`.
    ///
    /// # Errors
    /// The name does not resolve, nobody answers (`TimedOut`), or those of `connect(2)`.
    pub async fn connect(host: &str, port: u16, limit: Duration) -> io::Result<Self> {
        let addresses: Vec<SocketAddr> = match host.parse::<std::net::IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => {
                let name = host.to_owned();
                let lookup = move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
                crate::task::blocking(lookup).await??
            }
        };
        let stream = tokio::time::timeout(limit, TcpStream::connect(&addresses[..]))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Waits until there is something to read, or the other side is gone.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// Waits until there is room to write.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn writable(&self) -> io::Result<()> {
        self.0.writable().await
    }

    /// Reads what there is, or arranges to be woken when there is something; 0 means that the
    /// other side has closed. A read that does not fill `into` is not followed by a second
    /// system call that only says "nothing more".
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        match Pin::new(&mut self.0).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer.filled().len())),
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ready when there may be room to write; else arranges to be woken.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_write_ready(cx)
    }

    /// As [`Socket::try_write`], telling the kernel that more follows at once.
    ///
    /// # Errors
    /// As [`Socket::try_write`].
    pub fn try_write_more(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_io(Interest::WRITABLE, || {
            Ok(rustix::net::send(self.0.as_fd(), bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
        })
    }

    /// Reads what there is; 0 means that the other side has closed.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing, else those of `recv(2)`.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }

    /// Writes what there is room for.
    ///
    /// # Errors
    /// `WouldBlock` if there is none, else those of `send(2)`.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    /// Writes what there is room for, from several places.
    ///
    /// # Errors
    /// As [`Socket::try_write`].
    pub fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    /// Writes all of `bytes`, waiting for room where there is none.
    ///
    /// # Errors
    /// Those of `send(2)`; `WriteZero` if the other side takes nothing.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Sends a range of a file without copying it through the process, as much as there is room
    /// for (`sendfile(2)`); 0 means that the file ended.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room, else those of `sendfile(2)`.
    pub fn try_send_file(
        &self,
        file: BorrowedFd<'_>,
        position: u64,
        len: NonZeroUsize,
    ) -> io::Result<usize> {
        self.0.try_io(Interest::WRITABLE, || {
            let mut at = position;
            Ok(rustix::fs::sendfile(self.0.as_fd(), file, Some(&mut at), len.get())?)
        })
    }

    /// Tells the other side that nothing more will come.
    ///
    /// # Errors
    /// Those of `shutdown(2)`.
    pub fn shutdown_write(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.0.as_fd(), rustix::net::Shutdown::Write)?)
    }

    /// The other side's address.
    ///
    /// # Errors
    /// Those of `getpeername(2)`.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}
