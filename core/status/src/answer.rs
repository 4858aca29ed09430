//! From a request to a reply, waiting where that is asked for.

use std::time::Duration;

use tiny_http::Method;
use tokio::time::{Instant, timeout_at};

use crate::connection::Stream;
use crate::head::Head;
use crate::link;
use crate::render::expvar::{self, Memory};
use crate::render::metrics::{self, Format};
use crate::render::{kapo, page, status};
use crate::reply::Reply;
use crate::routes::{Check, Route, Scope, Stray};
use crate::seats::MAX_CONNECTIONS;
use crate::server::{Server, Share};
use crate::snapshot::View;
use crate::time;
use crate::verdict::{self, Objection};

/// How long PID 1 may take to answer, and a worker that has just been started to be told everything. A probe's usual timeout is one second.
const PATIENCE: Duration = Duration::from_millis(500);

/// Most requests held by `?wait` at a time, so that they never take all seats.
const MAX_HELD: usize = MAX_CONNECTIONS / 2;

const JSON: &str = "application/json";

/// What two kinds of reader get different answers from.
const VARY: &[(&str, &str)] = &[("Vary", "Accept")];

/// The reply to a request. `None`: the client went away while it was held.
pub(crate) async fn answer(server: &Server, stream: &Stream, head: &Head, inbox: &mut Vec<u8>) -> Option<Reply> {
    if !matches!(head.method, Method::Get | Method::Head) {
        return Some(Reply::wrong_method());
    }
    let route = match Route::parse(&head.target) {
        Ok(route) => route,
        Err(Stray::Unknown) => return Some(not_found()),
        Err(Stray::Malformed(why)) => return Some(Reply::text(400, format!("{why}\n"))),
    };
    let begun = Instant::now();
    let patience = begun + PATIENCE;
    Some(match route {
        Route::Root if head.accepts("text/html") => page::reply(),
        Route::Root => {
            if !is_alive(server, begun, patience).await {
                return Some(silent());
            }
            document(server, patience, |view| Some(Reply { fields: VARY, ..Reply::document(JSON, kapo::array(view)) }))
                .await
        }
        Route::Status(scope) => {
            document(server, patience, |view| {
                let text = match &scope {
                    Scope::All => status::document(view, &server.traffic(), time::wall()),
                    Scope::Service(name) => status::service(view.service(name)?, time::wall()),
                };
                Some(Reply::document(JSON, text))
            })
            .await
        }
        Route::Metrics(scope) => {
            let open = head.accepts("application/openmetrics-text");
            let format = if open { Format::OpenMetrics } else { Format::Prometheus };
            document(server, patience, |view| {
                let text = match &scope {
                    Scope::All => metrics::everything(view, &server.traffic(), format),
                    Scope::Service(name) => metrics::one(view, view.service(name)?, format),
                };
                Some(Reply { fields: VARY, ..Reply::document(format.content_type(), text) })
            })
            .await
        }
        Route::Vars => {
            document(server, patience, |view| {
                let memory = Memory::parse(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
                Some(Reply::document("application/json; charset=utf-8", expvar::object(view, memory)))
            })
            .await
        }
        Route::Check { check, scope, wait: None } => settle(server, check, &scope, begun, begun).await,
        Route::Check { check, scope, wait: Some(length) } => {
            let Some(_held) = Share::take(&server.held, 1, MAX_HELD) else {
                return Some(Reply::text(503, "too many requests wait already; ask again without wait\n"));
            };
            tokio::select! {
                biased;
                reply = settle(server, check, &scope, begun, begun + length) => reply,
                () = stream.hang_up(server, inbox) => return None,
            }
        }
    })
}

/// Answers a question at `deadline` at the latest, or as soon as the answer is yes. What is missing for an answer at all is waited for in any
/// case for a moment.
async fn settle(server: &Server, check: Check, scope: &Scope, begun: Instant, deadline: Instant) -> Reply {
    let patience = deadline.max(begun + PATIENCE);
    if check == Check::Liveness && !is_alive(server, begun, patience).await {
        return silent();
    }
    if !is_known(server, patience).await {
        return unknown();
    }
    loop {
        let reported = server.reported.notified();
        let verdict = server.snapshot.borrow().view().map(|view| verdict::judge(view, check, scope));
        match verdict {
            Some(Ok(())) => return Reply::text(200, "ok\n"),
            Some(Err(Objection::Unknown)) => return not_found(),
            Some(Err(Objection::No(reasons))) if Instant::now() >= deadline => return Reply::text(503, reasons),
            None if Instant::now() >= patience => return unknown(),
            Some(Err(Objection::No(_))) | None => {}
        }
        let until = if verdict.is_none() { patience } else { deadline };
        let _ = timeout_at(until, reported).await;
    }
}

/// What `render` makes of the snapshot, once there is one; 404 where it makes nothing of it.
async fn document(server: &Server, patience: Instant, render: impl FnOnce(View<'_>) -> Option<Reply>) -> Reply {
    is_known(server, patience).await;
    match server.snapshot.borrow().view() {
        Some(view) => render(view).unwrap_or_else(not_found),
        None => unknown(),
    }
}

/// Whether PID 1 answers a ping before `patience` ends.
async fn is_alive(server: &Server, begun: Instant, patience: Instant) -> bool {
    loop {
        let answered = server.answered.notified();
        link::ping(server, begun);
        if server.pulse.borrow().is_fresh(begun) {
            return true;
        }
        if timeout_at(patience, answered).await.is_err() {
            return false;
        }
    }
}

/// Whether PID 1 has reported everything before `patience` ends.
async fn is_known(server: &Server, patience: Instant) -> bool {
    loop {
        let reported = server.reported.notified();
        if server.snapshot.borrow().view().is_some() {
            return true;
        }
        if timeout_at(patience, reported).await.is_err() {
            return false;
        }
    }
}

fn not_found() -> Reply {
    Reply::text(404, "not found; see /status, /liveness, /readiness, /startup, /metrics, /debug/vars, /service/NAME\n")
}

fn silent() -> Reply {
    Reply::text(503, "pid 1 does not answer\n")
}

fn unknown() -> Reply {
    Reply::text(503, "pid 1 has not reported yet\n")
}
