//! One connection of the daemon's, and the one to the Engine that belongs to it.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming, SizeHint},
    client::conn::http1::{SendRequest, handshake},
    server::conn::http1,
    service::service_fn,
    upgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::UnixStream,
    sync::{Mutex, watch},
    time::sleep,
};

use super::{Action, Mode, Shared, garble::Garble};
use crate::Call;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Serves one connection until either side closes its own.
pub(super) async fn serve(stream: UnixStream, shared: Arc<Shared>) {
    let mut mode = shared.mode.subscribe();
    let Ok(upstream) = UnixStream::connect(&shared.engine).await else {
        return;
    };
    let Ok((sender, upstream)) = handshake(TokioIo::new(upstream)).await else {
        return;
    };
    let sender = Arc::new(Mutex::new(sender));
    let service = service_fn(move |request| {
        let (shared, sender) = (Arc::clone(&shared), Arc::clone(&sender));
        async move { answer(request, &shared, &sender).await }
    });
    let mut server = Box::pin(
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades(),
    );
    let mut upstream = Box::pin(upstream.with_upgrades());
    tokio::select! {
        _ = server.as_mut() => {}
        // The Engine has closed: so does the proxy, after an answer that it has begun.
        _ = upstream.as_mut() => {
            server.as_mut().graceful_shutdown();
            let _ = server.as_mut().await;
        }
        () = down(&mut mode) => {}
    }
}

/// An error closes the connection without an answer.
async fn answer(
    request: Request<Incoming>,
    shared: &Arc<Shared>,
    sender: &Mutex<SendRequest<Incoming>>,
) -> Result<Response<Body>, io::Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut call = Call::new(request.method().as_str(), path);
    let header = request.headers().get("traceparent");
    call.traceparent = header.map(|value| value.to_str().unwrap().to_owned());
    // Before the rule is looked for, so that it cannot be cleared unnoticed.
    let mut cleared = shared.cleared.subscribe();
    let action = shared.meet(call);
    let mode = shared.mode.subscribe();
    thaw(&mode).await;
    let (mut before_answer, mut held, mut cut, mut garble) = (Duration::ZERO, false, None, None);
    match action {
        None => {}
        Some(Action::Hold) => clear(&mut cleared).await,
        Some(Action::HoldAnswer) => held = true,
        Some(Action::DelayAnswer(time)) => before_answer = time,
        Some(Action::Refuse) => return Err(closed()),
        Some(Action::Hang) => std::future::pending().await,
        Some(Action::Cut(length)) => cut = Some(length),
        Some(Action::Garble(seed)) => garble = Some(Garble::new(seed)),
        Some(Action::Answer(status, body)) => {
            let _ = request.into_body().collect().await;
            let body = Full::new(Bytes::from(body.to_string()));
            let mut response = Response::new(body.map_err(|never: Infallible| match never {}).boxed_unsync());
            *response.status_mut() = status.try_into().unwrap();
            let json = hyper::header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
            return Ok(response);
        }
    }
    let response = forward(request, sender, mode.clone()).await?;
    sleep(before_answer).await;
    if held {
        clear(&mut cleared).await;
    }
    thaw(&mode).await;
    if cut == Some(usize::MAX) {
        return Err(closed());
    }
    Ok(response.map(|inner| {
        let body = Passing {
            inner,
            cut,
            garble,
            mode,
        };
        body.boxed_unsync()
    }))
}

async fn forward(
    mut request: Request<Incoming>,
    sender: &Mutex<SendRequest<Incoming>>,
    mut mode: watch::Receiver<Mode>,
) -> Result<Response<Incoming>, io::Error> {
    let downstream = request
        .headers()
        .contains_key(hyper::header::UPGRADE)
        .then(|| upgrade::on(&mut request));
    let mut sender = sender.lock().await;
    sender.ready().await.map_err(io::Error::other)?;
    let mut response = sender.send_request(request).await.map_err(io::Error::other)?;
    if response.status() == hyper::StatusCode::SWITCHING_PROTOCOLS
        && let Some(downstream) = downstream
    {
        let upstream = upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(downstream), Ok(upstream)) = tokio::join!(downstream, upstream) {
                // Passes the end of one direction on, and goes on with the other.
                let (mut downstream, mut upstream) = (TokioIo::new(downstream), TokioIo::new(upstream));
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut downstream, &mut upstream) => {}
                    () = down(&mut mode) => {}
                }
            }
        });
    }
    Ok(response)
}

/// Waits until connections are to end.
async fn down(mode: &mut watch::Receiver<Mode>) {
    // Its answer is dropped at once: what `wait_for` returns is a lock.
    let _ = mode.wait_for(|mode| *mode == Mode::Down).await.is_ok();
}

/// Waits while nothing may move.
async fn thaw(mode: &watch::Receiver<Mode>) {
    let _ = mode.clone().wait_for(|mode| *mode != Mode::Frozen).await.is_ok();
}

/// Waits until the rules are cleared.
async fn clear(cleared: &mut watch::Receiver<()>) {
    let _ = cleared.changed().await;
}

fn closed() -> io::Error {
    io::Error::other("closed by the proxy")
}

/// A body that is passed on as it comes, perhaps not to its end.
struct Passing {
    inner: Incoming,
    cut: Option<usize>,
    garble: Option<Garble>,
    mode: watch::Receiver<Mode>,
}

impl hyper::body::Body for Passing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if *self.mode.borrow() == Mode::Frozen {
            let mut mode = self.mode.clone();
            let waker = context.waker().clone();
            tokio::spawn(async move {
                let _ = mode.wait_for(|mode| *mode != Mode::Frozen).await.is_ok();
                waker.wake();
            });
            return Poll::Pending;
        }
        if self.cut == Some(0) {
            return Poll::Ready(Some(Err(closed())));
        }
        let polled = Pin::new(&mut self.inner)
            .poll_frame(context)
            .map_err(io::Error::other);
        if let (Some(garble), Poll::Ready(Some(Ok(frame)))) = (&mut self.garble, &polled)
            && let Some(data) = frame.data_ref()
        {
            return Poll::Ready(Some(Ok(Frame::data(garble.next(data)))));
        }
        let (Some(left), Poll::Ready(Some(Ok(frame)))) = (self.cut, &polled) else {
            return polled;
        };
        let Some(data) = frame.data_ref() else {
            return polled;
        };
        let part = data.slice(..left.min(data.len()));
        self.cut = Some(left - part.len());
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.cut.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.garble.is_some() {
            return SizeHint::default();
        }
        self.inner.size_hint()
    }
}
