//! `GET /metrics` in Prometheus' text format. Nothing else is served here, and only to loopback
//! unless the configuration says otherwise.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use klamm_env::net::{BoundListener, Socket};
use klamm_env::task;
use klamm_metrics::Registry;

/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Patience with a client.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after `accept` failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers one request after another: scrapes are rare.
pub(crate) async fn serve(listener: BoundListener, registry: Arc<Registry>) {
    let listener = match listener.into_listener() {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "metrics cannot be served");
            return;
        }
    };
    loop {
        match listener.accept().await {
            Ok((socket, address)) => {
                let Ok(socket) = socket.into_socket() else { continue };
                match task::timeout(REQUEST_TIMEOUT, answer(&socket, &registry)).await {
                    Some(Ok(())) => {}
                    Some(Err(error)) => tracing::debug!(%address, %error, "a scrape failed"),
                    None => tracing::debug!(%address, "a scrape took too long"),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a scrape could not be accepted");
                task::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(socket: &Socket, registry: &Registry) -> io::Result<()> {
    let mut head = Vec::new();
    loop {
        let mut chunk = [0; 1024];
        socket.readable().await?;
        match socket.try_read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => head.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
            Err(e) => return Err(e),
        }
        let response = respond(&head, registry);
        if let Some(response) = response {
            socket.write_all(response.as_bytes()).await?;
            return socket.shutdown_write();
        }
    }
}

/// The answer to what has come so far; `None` if the head is not whole yet.
fn respond(head: &[u8], registry: &Registry) -> Option<String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if head.len() < HEAD_BYTES_MAX => return None,
        Ok(httparse::Status::Partial) => {
            return Some(text("431 Request Header Fields Too Large", "too long\n"));
        }
        Err(_) => return Some(text("400 Bad Request", "not HTTP\n")),
    }
    Some(match (request.method, request.path) {
        (Some("GET"), Some("/metrics")) => text("200 OK", &registry.render()),
        (Some("GET"), _) => text("404 Not Found", "try /metrics\n"),
        _ => text("405 Method Not Allowed", "only GET\n"),
    })
}

fn text(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &[u8]) -> Option<String> {
        respond(head, &Registry::default())
            .map(|answer| answer.lines().next().unwrap_or_default().to_owned())
    }

    #[test]
    fn metrics_are_served_and_nothing_else() {
        assert_eq!(status(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap(), "HTTP/1.1 200 OK");
        assert_eq!(status(b"GET / HTTP/1.1\r\n\r\n").unwrap(), "HTTP/1.1 404 Not Found");
        assert_eq!(
            status(b"POST /metrics HTTP/1.1\r\n\r\n").unwrap(),
            "HTTP/1.1 405 Method Not Allowed"
        );
    }

    #[test]
    fn a_head_that_is_unfinished_endless_or_garbage_is_told_apart() {
        assert_eq!(status(b"GET /metrics HT"), None);
        assert_eq!(status(b"\x00\x01\x02 garbage\r\n\r\n").unwrap(), "HTTP/1.1 400 Bad Request");
        let endless =
            [b"GET /metrics HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; HEAD_BYTES_MAX]].concat();
        assert!(status(&endless).unwrap().contains("431"));
    }
}
