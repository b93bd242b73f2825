//! One HTTP request, for a machine that may have no curl.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A page in the pod's own words needs no more.
const MOST: u64 = 1 << 20;

/// One attempt's time.
const LIMIT: Duration = Duration::from_secs(5);

/// What a web server answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status line.
    pub(crate) status: String,
    /// The body's first line that is not blank.
    pub(crate) line: String,
    /// The body's length in bytes.
    pub(crate) length: usize,
}

/// Asks for `/`.
pub(crate) async fn get(address: SocketAddr) -> Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        // HTTP/1.0: the answer comes in one piece and ends with the connection.
        let request = format!("GET / HTTP/1.0\r\nHost: {address}\r\nAccept: */*\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MOST).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(LIMIT, exchange)
        .await
        .with_context(|| format!("GET http://{address}/: no answer within {} s", LIMIT.as_secs()))?
        .with_context(|| format!("GET http://{address}/"))?;
    read(&answer).with_context(|| format!("GET http://{address}/"))
}

fn read(answer: &[u8]) -> Result<Answer> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let Some(end) = end.filter(|_| answer.starts_with(b"HTTP/")) else {
        bail!("the answer of {} bytes is not HTTP", answer.len());
    };
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default());
    let body = answer.get(end + 4..).unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    Ok(Answer {
        status: head.lines().next().unwrap_or_default().to_owned(),
        line: line.unwrap_or_default().chars().take(100).collect(),
        length: body.len(),
    })
}

/// The port if it can be listened on; without one, some port that can.
pub(crate) fn free_port(wanted: Option<u16>) -> Result<u16> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), wanted.unwrap_or(0));
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let answer = read(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n\n  <html>\nmore").unwrap();
        assert_eq!(answer.status, "HTTP/1.1 200 OK");
        assert_eq!((answer.line.as_str(), answer.length), ("<html>", 14));
        assert_eq!(read(b"HTTP/1.0 404 No\r\n\r\n").unwrap().line, "");
        for garbage in [b"".as_slice(), b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n"] {
            read(garbage).expect_err("it is not HTTP");
        }
    }

    #[tokio::test]
    async fn a_server_is_asked() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 15];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(&request, b"GET / HTTP/1.0\r");
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello\n").await.unwrap();
            // Nothing of the answer is lost by a reset: the request is read to its end.
            let mut rest = [0; 1024];
            let _ = stream.read(&mut rest).await;
        });
        assert_eq!(get(address).await.unwrap().line, "hello");
        server.await.unwrap();
        let error = get(address).await.unwrap_err();
        assert!(format!("{error:#}").contains("refused"), "{error:#}");
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = format!("{:#}", free_port(Some(port)).unwrap_err());
        assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
        assert_ne!(free_port(None).unwrap(), port);
    }
}
