//! The caller's deadline.
//!
//! A call that is not answered when its `grpc-timeout` has passed is dropped and answered DEADLINE_EXCEEDED,
//! which the kubelet and critest look for. tonic's own server answers CANCELLED, from outside of every layer that
//! could be added to it.

use std::{convert::Infallible, time::Duration};

use tokio::time::timeout;
use tonic::{
    Status,
    body::Body,
    codegen::{
        Bytes, Service, StdError,
        http::{HeaderMap, Request, Response},
    },
    service::Routes,
};

/// Has `routes` answer `request` within the time that its caller grants.
///
/// A stream of messages has begun to answer with its headers; from then on the deadline is the caller's to keep.
pub(super) async fn answer<B>(mut routes: Routes, request: Request<B>) -> Result<Response<Body>, Infallible>
where
    B: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    let Some(patience) = caller_timeout(request.headers()) else {
        return routes.call(request).await;
    };
    let uri = request.uri().clone();
    // The clock ticks in milliseconds: a call without any time would begin, and a change would go on detached.
    if !patience.is_zero()
        && let Ok(answer) = timeout(patience, routes.call(request)).await
    {
        return answer;
    }
    let rpc = uri.path().rsplit('/').next().unwrap_or_default();
    tracing::info!(rpc, ?patience, "not answered within the caller's deadline");
    let late = Status::deadline_exceeded(format!(
        "{rpc}: not done within the caller's deadline of {patience:?}"
    ));
    Ok(late.into_http())
}

/// How long the caller waits, by its `grpc-timeout` header: up to eight digits and a unit. A header that says
/// nothing of the kind counts as none.
pub(super) fn caller_timeout(headers: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = headers.get("grpc-timeout")?.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits
        .iter()
        .fold(0, |amount, digit| amount * 10 + u32::from(digit - b'0'));
    let one = match unit {
        b'H' => Duration::from_secs(3600),
        b'M' => Duration::from_secs(60),
        b'S' => Duration::from_secs(1),
        b'm' => Duration::from_millis(1),
        b'u' => Duration::from_micros(1),
        b'n' => Duration::from_nanos(1),
        _ => return None,
    };
    Some(one * amount)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tonic::codegen::http::HeaderValue;

    use super::*;

    #[test]
    fn the_callers_patience_is_read() {
        let cases: [(&[u8], _); 15] = [
            (b"2M", Some(Duration::from_secs(120))),
            (b"500m", Some(Duration::from_millis(500))),
            (b"1S", Some(Duration::from_secs(1))),
            (b"00000007u", Some(Duration::from_micros(7))),
            (b"0n", Some(Duration::ZERO)),
            (b"99999999H", Some(Duration::from_secs(359_999_996_400))),
            (b"S", None),
            (b"1", None),
            (b"1x", None),
            (b"", None),
            (b"+1S", None),
            (b"-1S", None),
            (b"1 S", None),
            (b"\xff\xfe", None),
            (b"123456789m", None),
        ];
        for (text, patience) in cases {
            let mut headers = HeaderMap::new();
            assert_eq!(caller_timeout(&headers), None);
            headers.insert("grpc-timeout", HeaderValue::from_bytes(text).unwrap());
            assert_eq!(caller_timeout(&headers), patience, "{text:?}");
        }
    }
}
